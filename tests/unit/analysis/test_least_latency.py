"""The latencies that the planned work alone causes."""

import math

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.facts import collect_facts
from harness.analysis.least_latency import least_latency, queued_ns
from harness.analysis.validity import measure
from harness.spec.experiment import load_experiment
from tests.unit.synthetic.handwritten_cell import MS, row, write_cell

FILE = {
    "title": "One",
    "question": "Does it?",
    "lesson": "It does.",
    "replicas": {"count": 2, "slots": 1, "service_time_ms": {"distribution": "constant", "mean": 10}},
    "workload": {"clients": 1, "rate_per_s": 100, "calls": {"AddVideo": 1}, "duration_s": 1},
    "arms": {"proxy": {"route": "envoy", "policy": "round_robin"}},
    "repeats": 1,
}
KILL = {"at_s": 0.5, "do": "kill", "target": "replica-0"}


def experiment(folder, **changes):
    sections = {
        key: {**FILE.get(key, {}), **value} if isinstance(value, dict) else value
        for key, value in changes.items()
    }
    path = folder / "one.yaml"
    path.write_text(yaml.safe_dump(FILE | sections))
    return load_experiment(str(path))


def slow_cell(folder, **info):
    """Replica 0 gets a request every 5 ms and needs 10 ms for each, replica 1 one every 20 ms.

    All were answered 300 ms after they were planned. One more failed.
    """
    planned = [(n, "replica-0", 5 * n) for n in range(4)] + [(10 + n, "replica-1", 20 * n) for n in range(3)]
    rows = [
        row(n, name, planned_ns=ms * MS, sent_ns=(ms + 100) * MS, done_ns=(ms + 300) * MS)
        for n, name, ms in planned
    ]
    failed = row(20, "", code="UNAVAILABLE", planned_ns=1, sent_ns=MS, done_ns=2 * MS)
    return write_cell(folder, [*rows, failed], arm="proxy", **info)


def test_each_request_waits_for_a_slot_of_its_replica_and_for_its_work(tmp_path):
    # Replica 0: 10, 15, 20, 25 ms. Replica 1: 10 ms each. Of eight, the failed one is the longest.
    found = least_latency(slow_cell(tmp_path), experiment(tmp_path))
    assert found.of_all_ns["p50"] == 10 * MS
    assert found.of_ok_ns == found.of_ok_ns | {"p50": 10 * MS, "max": 25 * MS}
    assert found.of_all_ns["max"] == math.inf


@pytest.mark.parametrize("column", ["request_id", "client", "planned_ns", "code", "replica"])
def test_a_damaged_row_is_left_out(tmp_path, column):
    cell = slow_cell(tmp_path)
    path = cell.folder / "requests.parquet"
    damaged = pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise(pl.col(column)).alias(column)
    pl.read_parquet(path).with_columns(damaged).write_parquet(path)
    assert least_latency(cell, experiment(tmp_path)).of_ok_ns["max"] == 20 * MS  # 25 ms with it


def test_it_is_asked_for_only_where_the_machine_was_taken(tmp_path):
    for cause, known in (("processes", True), ("load", False), (None, False)):
        folder = tmp_path / str(cause)
        folder.mkdir()
        cell = slow_cell(folder, disturbed_by=cause)
        result = measure(collect_facts(cell, experiment=experiment(tmp_path)))
        assert (result.least_ms.get("latency_ms.p50") == 10) == known
        assert result.excess("latency_ms.p50") == (290 if known else pytest.approx(100, abs=1))
        assert result.can_tell("latency_ms.p50")
        assert result.can_tell("queue_ms.p50") == (not known)
        assert "latency_ms.max" not in result.least_ms  # a failed request: not finite


@pytest.mark.parametrize(
    "changes",
    [
        {"workload": {"rate_per_s": None, "think_time_ms": 10}},
        {"workload": {"calls": {"AddVideo": 1, "ListVideos": 1}}},
        {"replicas": {"cache": {"sessions": 5, "hit_factor": 0.5}}},
        {"events": [KILL]},
    ],
)
def test_it_is_not_known_where_the_work_is_not(tmp_path, changes):
    assert least_latency(slow_cell(tmp_path), experiment(tmp_path, **changes)) is None


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=30), st.integers(1, 4)
)
def test_a_queue_starts_each_request_when_fewer_than_all_slots_work_on_earlier_ones(requests, slots):
    requests.sort(key=lambda one: one[0])
    arrivals, works = zip(*requests, strict=True)
    times = queued_ns(arrivals, works, slots)
    starts = [at + time - work for at, time, work in zip(arrivals, times, works, strict=True)]
    assert starts == sorted(starts)  # first come, first served
    ends = [start + work for start, work in zip(starts, works, strict=True)]
    for n, (arrival, start) in enumerate(zip(arrivals, starts, strict=True)):
        assert start >= arrival
        # It is the first moment from its arrival on at which a slot is free.
        for moment in {arrival, *(end for end in ends[:n] if arrival <= end < start)} - {start}:
            assert sum(end > moment for end in ends[:n]) >= slots
        assert sum(end > start for end in ends[:n]) < slots
