"""A request's stages add up to its latency, whatever its moments are."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.joined import join_cell
from harness.analysis.stages import stage_times, with_stages
from harness.metrics.stages import STAGES, stage_metrics, stages_of
from harness.record.joined_table import JOINED_COLUMNS, STAGE_COLUMNS
from tests.unit.synthetic.handwritten_cell import MS, REPLICAS, asked, row, write_cell

MOMENTS = list(dict.fromkeys(["planned_ns", *(stage.ends for stage in STAGES.values())]))
KNOWN = ("planned_ns", "ready_ns", "sent_ns", "done_ns")  # of every request

moments = st.lists(
    st.fixed_dictionaries(
        {
            name: st.integers(0, 2**40) if name in KNOWN else st.none() | st.integers(0, 2**40)
            for name in MOMENTS
        }
    ),
    min_size=1,
    max_size=20,
)


def cut(rows, stages):
    frame = pl.DataFrame(rows, schema=dict.fromkeys(MOMENTS, pl.Int64)).lazy()
    return with_stages(frame, stages).collect()


@given(rows=moments, cut_by=st.sampled_from(["proxy", "replicas"]), attempts=st.integers(1, 3))
def test_stages_add_up_to_the_latency(rows, cut_by, attempts):
    stages = stages_of(cut_by, attempts)
    found = cut(rows, stages)
    total = found.select(pl.sum_horizontal(STAGE_COLUMNS[name] for name in stages)).to_series()
    assert (total == found["done_ns"] - found["planned_ns"]).all()


@given(rows=moments, cut_by=st.sampled_from(["proxy", "replicas"]), attempts=st.integers(1, 3))
def test_no_stage_is_negative_where_the_request_ended_after_its_plan(rows, cut_by, attempts):
    later = [one | {"done_ns": max(one["done_ns"], one["planned_ns"])} for one in rows]
    stages = stages_of(cut_by, attempts)
    found = cut(later, stages)
    for name in stages:
        assert (found[STAGE_COLUMNS[name]] >= 0).all(), name


def stages_of_moments(**known):
    """Milliseconds of each stage that takes time, from moments in ms; those not given are unknown."""
    stages = stages_of("proxy", 3)
    (found,) = cut(
        [dict.fromkeys(MOMENTS) | {name: at * MS for name, at in known.items()}], stages
    ).to_dicts()
    return {name: found[STAGE_COLUMNS[name]] / MS for name in stages if found[STAGE_COLUMNS[name]]}


SENT = {"planned_ns": 0, "ready_ns": 1, "sent_ns": 3}
IN_PROXY = {**SENT, "proxy_ns": 6}
IN_REPLICA = {**IN_PROXY, "arrived_ns": 10, "started_ns": 15, "finished_ns": 21, "done_ns": 28}


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param(
            IN_REPLICA,
            {"waiting_for_answer": 1, "late_sending": 2, "to_proxy": 3, "proxy_to_replica": 4, "queue": 5}
            | {"service": 6, "way_back": 7},
            id="all known",
        ),
        pytest.param(
            {**IN_REPLICA, "stream_ns": 5},
            {"waiting_for_answer": 1, "late_sending": 2, "waiting_for_stream": 2, "to_proxy": 1}
            | {"proxy_to_replica": 4, "queue": 5, "service": 6, "way_back": 7},
            id="waited for a stream",
        ),
        pytest.param(
            {**IN_REPLICA, "retried_ns": 8},
            {"waiting_for_answer": 1, "late_sending": 2, "to_proxy": 3, "earlier_attempts": 2}
            | {"proxy_to_replica": 2, "queue": 5, "service": 6, "way_back": 7},
            id="tried again",
        ),
        pytest.param(
            {**SENT, "done_ns": 50},
            {"waiting_for_answer": 1, "late_sending": 2, "to_proxy": 47},
            id="never there",
        ),
        pytest.param(
            {**IN_PROXY, "done_ns": 50},
            {"waiting_for_answer": 1, "late_sending": 2, "to_proxy": 3, "proxy_to_replica": 44},
            id="given up by the proxy",
        ),
        pytest.param(
            {**IN_REPLICA, "done_ns": 12},
            {"waiting_for_answer": 1, "late_sending": 2, "to_proxy": 3, "proxy_to_replica": 4, "queue": 2},
            id="given up in the queue",
        ),
        pytest.param(
            {name: at for name, at in IN_REPLICA.items() if name != "proxy_ns"},
            {
                "waiting_for_answer": 1,
                "late_sending": 2,
                "to_proxy": 7,
                "queue": 5,
                "service": 6,
                "way_back": 7,
            },
            id="the proxy's row is lost",
        ),
    ],
)
def test_a_request_spends_its_time_where_it_was(known, expected):
    assert stages_of_moments(**known) == expected


def test_a_cells_stages_come_from_its_ledgers(tmp_path):
    rows = [
        row(0, "replica-0", planned_ns=0, sent_ns=2 * MS, done_ns=9 * MS, queue_ns=3 * MS, service_ns=MS),
        row(1, "replica-1", planned_ns=MS, sent_ns=MS, done_ns=3 * MS, queue_ns=0, service_ns=MS),
    ]
    times = join_cell(write_cell(tmp_path, rows, route="direct")).table.collect().sort("request_id")
    assert times["stage_late_sending_ns"].to_list() == [2 * MS, 0]
    assert times["stage_to_replica_ns"].to_list() == [0, 0]
    assert times["stage_queue_ns"].to_list() == [3 * MS, 0]
    assert times["stage_service_ns"].to_list() == [MS, MS]
    assert times["stage_way_back_ns"].to_list() == [3 * MS, MS]
    assert times["stage_to_proxy_ns"].to_list() == [None, None]
    assert times.columns == list(JOINED_COLUMNS)


@pytest.mark.parametrize(
    ("info", "route", "cut_by"),
    [
        ({}, "envoy", "proxy"),
        ({}, "direct", "replicas"),
        ({}, "envoy-l4", "replicas"),
        ({"missing_ledgers": {"envoy": "not ours"}}, "envoy", "replicas"),
        ({"wall_clock_moved_ns": 3_600_000_000_000}, "envoy", "replicas"),
        ({"missing_ledgers": {"replica": "not ours"}}, "direct", None),
    ],
)
def test_which_stages_a_cell_has_depends_on_its_ledgers(tmp_path, info, route, cut_by):
    joined = join_cell(write_cell(tmp_path, [row(0, "replica-0")], route=route, **info))
    assert list(joined.stages) == ([] if cut_by is None else list(stages_of(cut_by, 1)))


def test_only_cells_with_retries_have_earlier_attempts(tmp_path):
    once, again = tmp_path / "once", tmp_path / "again"
    for folder in (once, again):
        folder.mkdir()
    rows = [row(0, "replica-1", sent_ns=0, done_ns=9 * MS)]
    joined = join_cell(
        write_cell(again, rows, replica=[(0, "replica-0"), (0, "replica-1")], route="direct", max_attempts=2)
    )
    assert "earlier_attempts" in joined.stages
    assert joined.table.collect()["replica_rows"].to_list() == [2]
    assert "earlier_attempts" not in join_cell(write_cell(once, rows, route="direct")).stages


def test_times_of_a_stage_are_of_all_and_of_the_slowest():
    warm_up = {"latency_ns": [5000], STAGE_COLUMNS["queue"]: [5000], "in_window": [False]}
    measured = {
        "latency_ns": range(1, 1001),
        STAGE_COLUMNS["queue"]: range(1, 1001),
        "in_window": [True] * 1000,
    }
    rows = pl.concat([pl.DataFrame(measured), pl.DataFrame(warm_up)])
    times = stage_times(rows, ["queue"])["queue"]
    assert (times.percentiles["p50"], times.percentiles["p99"], times.mean) == (500, 990, 500.5)
    assert times.slowest == sum(range(990, 1001)) / 11
    assert stage_times(rows.clear(), ["queue"]) == {}


def test_every_stage_has_metrics_and_a_column():
    names = {name.split(".")[1] for name, _ in stage_metrics()}
    assert names == set(STAGES) == set(STAGE_COLUMNS)
    assert all(column in JOINED_COLUMNS for column in STAGE_COLUMNS.values())


def test_events_do_not_stop_the_cut(tmp_path):
    cell = write_cell(tmp_path, [row(0, "replica-0")], events=[asked(1, 1, "slow", *REPLICAS)])
    assert join_cell(cell).rows.height == 1
