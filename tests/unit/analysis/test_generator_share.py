"""The load generator's own share of latency, and the figures that it spoils."""

import math
from dataclasses import replace

import polars as pl
import pytest

from harness.analysis.facts import collect_facts
from harness.analysis.generator_share import own_part_ms
from harness.analysis.joined import join_cell
from harness.analysis.judge import judge
from harness.analysis.summary import facts_of
from harness.analysis.validity import measure
from harness.metrics.facts import GeneratorShare, Latency
from harness.record.run_directory import read_run
from tests.unit.synthetic.access_lines import access_line
from tests.unit.synthetic.handwritten_cell import MS, REPLICAS, asked, row, write_cell
from tests.unit.synthetic.synthetic_run import GOLDEN


def shares(cell):
    return [share / MS for share in join_cell(cell).rows.sort("request_id")["generator_ns"]]


def request(number, **more):
    """Sent 1 ms late at 100 n, answered 10 ms later; 4 ms of that in the replica."""
    at = 100 * number * MS
    times = {"planned_ns": at, "ready_ns": at, "sent_ns": at + MS, "done_ns": at + 11 * MS}
    return row(number, "replica-0", **times, queue_ns=MS, service_ns=3 * MS, **more)


def test_without_a_proxys_ledger_it_is_late_sending_and_the_way_back(tmp_path):
    assert shares(write_cell(tmp_path, [request(0), request(1)], route="direct")) == [7, 7]


def test_from_the_first_event_on_only_late_sending_is_known_to_be_the_generators(tmp_path):
    cell = write_cell(
        tmp_path, [request(0), request(1)], route="direct", events=[asked(1, 50, "slow", *REPLICAS)]
    )
    assert shares(cell) == [7, 1]


def test_only_an_answer_with_ok_has_a_way_back(tmp_path):
    assert shares(write_cell(tmp_path, [request(0, code="UNAVAILABLE")], route="direct")) == [1]


def test_waiting_for_an_answer_on_purpose_is_not_the_generators(tmp_path):
    late = request(0) | {"ready_ns": MS}
    assert shares(write_cell(tmp_path, [late], route="direct")) == [6]


def test_behind_the_proxy_it_is_what_is_outside_of_the_proxy(tmp_path):
    """handwritten_cell's proxy has a request from its send to its answer: late sending remains."""
    assert shares(write_cell(tmp_path, [request(0), request(1)])) == [1, 1]


def test_the_first_request_of_a_connection_waited_for_it(tmp_path):
    """Both reach the proxy 5 ms after their send; the first one had to wait for the connection."""
    cell = write_cell(tmp_path, [request(0), request(1)])
    proxy = (
        cell.proxy_ledger()
        .collect()
        .with_columns(
            pl.col("start_unix_ns") + 5 * MS, pl.lit(5).alias("duration_ms"), pl.lit(3).alias("connection")
        )
    )
    (tmp_path / "access.log").write_text("".join(access_line(**line) for line in proxy.to_dicts()))
    assert shares(cell) == [1, 6]


@pytest.fixture
def facts(tmp_path):
    return collect_facts(write_cell(tmp_path, [request(n) for n in range(9)], route="direct"))


def test_a_figure_is_told_with_and_without_the_share(facts):
    assert facts.generator.own_ns["p50"] == 7 * MS
    assert facts.latency.of_all_ns["p50"] - facts.generator.latency.of_all_ns["p50"] == 7 * MS
    assert own_part_ms(facts, "latency_ms.p50") == 7
    assert own_part_ms(facts, "latency_from_send_ms.p50") == 6
    assert own_part_ms(facts, "error_share") is None
    values = measure(facts).values
    assert values["generator_ms.p50"] == 7
    assert values["generator_part.p50"] == pytest.approx(7 / 11)


def with_part(facts, part):
    """The same cell, in which the lab caused that part of the median latency."""
    rest = {"p50": facts.latency.of_all_ns["p50"] * (1 - part)}
    return replace(facts, generator=GeneratorShare(latency=Latency(rest, rest, rest)))


@pytest.fixture(scope="module")
def golden():
    """The golden run: its experiment, and the results of its cells."""
    run = read_run(GOLDEN)
    return run.experiment, {arm: [measure(cell) for cell in cells] for arm, cells in facts_of(run).items()}


@pytest.mark.parametrize(
    ("times", "own_share", "verdict"),
    [(4, 0, "held"), (4, 0.6, "inconclusive"), (1.5, 0.6, "held"), (30, 0, "refuted"), (30, 0.6, "refuted")],
)
def test_a_claim_must_be_decided_alike_with_and_without_the_share(golden, times, own_share, verdict):
    """Where bound and figure are far apart, even a large share decides nothing."""
    experiment, results = golden
    claim = experiment.expect[-1].model_copy(update={"at_least_times": times})
    late = [
        replace(cell, own_ms={claim.metric: own_share * cell.values[claim.metric]})
        for cell in results["sticky"]
    ]
    judged = judge(experiment.model_copy(update={"expect": [claim]}), {**results, "sticky": late})
    assert judged.findings[0].verdict == verdict
    assert ("which may be in it" in judged.findings[0].reason) is (verdict == "inconclusive")


def test_the_larger_of_lag_and_share_may_be_in_a_duration(facts):
    result = measure(with_part(facts, 0.4))
    assert result.can_tell("latency_ms.p50")
    assert result.excess("latency_ms.p50") == pytest.approx(0.4 * 11)
    assert measure(with_part(facts, 0.01)).excess("latency_ms.p50") == 1  # the lag


def test_no_share_is_negative(tmp_path):
    rows = [request(0) | {"done_ns": 2 * MS}]
    found = join_cell(write_cell(tmp_path, rows, route="direct")).rows
    assert found.select((pl.col("generator_ns") >= 0).all()).item()


def test_the_lab_is_not_blamed_for_a_percentile_that_falls_on_failed_requests(tmp_path):
    """Four of nine requests fail: p50 is of answers, and the maximum is infinity without the lab, too."""
    rows = [request(n) | ({"code": "UNAVAILABLE", "replica": ""} if n < 4 else {}) for n in range(9)]
    facts = collect_facts(write_cell(tmp_path, rows, route="direct"))
    assert facts.latency.of_all_ns["max"] == facts.generator.latency.of_all_ns["max"] == math.inf
    assert own_part_ms(facts, "latency_ms.max") is None
    result = measure(facts)
    assert result.can_tell("latency_ms.max")
    assert result.values["latency_ms.max"] == math.inf
    assert own_part_ms(facts, "latency_ms.p50") == own_part_ms(facts, "ok_latency_ms.max") == 7


def test_there_is_no_part_of_infinity(tmp_path):
    rows = [request(n) | {"code": "UNAVAILABLE", "replica": ""} for n in range(9)]
    values = measure(collect_facts(write_cell(tmp_path, rows, route="direct"))).values
    assert values["latency_ms.p50"] == math.inf
    assert values["generator_part.p50"] is None
