"""Latency where requests failed: by hand, and properties that hold whatever fails."""

import math
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.facts import collect_facts
from harness.analysis.latency import latency_of
from harness.analysis.statistics import RANKS
from harness.metrics.facts import Latency
from harness.metrics.registry import METRICS
from tests.unit.synthetic.handwritten_cell import MS, row, write_cell

# Time until the end, and whether it ended with OK.
REQUESTS = st.lists(st.tuples(st.integers(0, 10**12), st.booleans()), min_size=1, max_size=200)


def latency(requests: Sequence[tuple[int, bool]]) -> Latency:
    table = pl.DataFrame(requests, schema={"took_ns": pl.Int64, "ok": pl.Boolean}, orient="row")
    return latency_of(table, "took_ns")


def test_by_hand() -> None:
    found = latency([(30, True), (5, False), (10, True), (20, True), (500, False)])
    assert found.of_all_ns == {"p50": 30, **dict.fromkeys(("p90", "p95", "p99", "p999", "max"), math.inf)}
    assert found.at_least_ns["p50"] == 20  # of 5, 10, 20, 30, 500
    assert found.at_least_ns["max"] == 500
    assert (found.of_ok_ns["p50"], found.of_ok_ns["max"]) == (20, 30)


def test_nothing_that_ended_with_ok_has_no_latency_of_ok() -> None:
    found = latency([(5, False), (6, False)])
    assert set(found.of_all_ns.values()) == {math.inf}
    assert found.of_ok_ns == {}
    assert found.at_least_ns["p50"] == 5


def test_without_requests_there_is_none() -> None:
    assert latency([]) == Latency({}, {}, {})


def test_a_deadline_does_not_make_it_look_better(tmp_path: Path) -> None:
    """289 of 300 requests are cut off after 500 ms; "p99 at most 550 ms" would hold of their durations."""
    rows = [
        row(n, "replica-0" if n < 11 else "", sent_ns=0, done_ns=(400 if n < 11 else 500) * MS)
        | ({} if n < 11 else {"code": "DEADLINE_EXCEEDED"})
        for n in range(300)
    ]
    facts = collect_facts(write_cell(tmp_path, rows))
    for name in ("latency_ms.p99", "latency_from_send_ms.p99", "latency_ms.p50"):
        metric = METRICS[name]
        assert metric.compute(facts) == math.inf
        assert metric.at_least is not None
        assert metric.at_least(facts) == 500
    assert METRICS["ok_latency_ms.p99"].compute(facts) == 400


@given(REQUESTS)
def test_a_percentile_of_all_says_how_many_had_an_answer_by_then(requests: list[tuple[int, bool]]) -> None:
    """That is what "p99 at most 550 ms" claims: 99 of 100 requests ended with OK within 550 ms."""
    found = latency(requests)
    for name, rank in RANKS.items():
        value = found.of_all_ns[name]
        needed = math.ceil(round(rank * len(requests), 6))
        if value < math.inf:
            assert sum(ok and took <= value for took, ok in requests) >= needed
            assert sum(ok and took < value for took, ok in requests) < needed
        else:
            assert sum(ok for _, ok in requests) < needed


@given(REQUESTS)
def test_it_lies_between_what_it_is_at_least_and_infinity(requests: list[tuple[int, bool]]) -> None:
    found = latency(requests)
    for name in RANKS:
        assert found.at_least_ns[name] <= found.of_all_ns[name]
        if found.of_ok_ns:
            assert found.of_ok_ns[name] <= found.of_all_ns[name]


@given(REQUESTS)
def test_what_is_shown_of_rising_percentiles_never_falls(requests: list[tuple[int, bool]]) -> None:
    found = latency(requests)
    shown = [
        value if value < math.inf else found.at_least_ns[name] for name, value in found.of_all_ns.items()
    ]
    assert shown == sorted(shown)


def test_quick_failures_lower_no_percentile() -> None:
    """Half of the requests fail at once: the median is the longest answer, and p90 at least that."""
    found = latency([(n, True) for n in range(1, 11)] + [(0, False)] * 10)
    assert found.of_all_ns["p50"] == 10
    assert found.at_least_ns["p90"] == 10  # eighteen of twenty requests ended within 8 ns


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=100))
def test_where_nothing_failed_all_are_the_same(took_ns: list[int]) -> None:
    found = latency([(ns, True) for ns in took_ns])
    assert found.of_all_ns == found.at_least_ns == found.of_ok_ns


@given(REQUESTS, st.integers(0, 10**12))
def test_an_earlier_deadline_never_lowers_it(requests: list[tuple[int, bool]], deadline_ns: int) -> None:
    cut = [(min(took, deadline_ns), ok and took <= deadline_ns) for took, ok in requests]
    whole, limited = latency(requests), latency(cut)
    for name in RANKS:
        assert limited.of_all_ns[name] >= whole.of_all_ns[name]


@pytest.mark.parametrize("event_metric", ["latency_p50_ms", "latency_p99_ms"])
def test_metrics_of_events_have_a_lower_end_as_well(event_metric: str) -> None:
    assert METRICS[f"event1.{event_metric}"].at_least is not None
    assert METRICS[f"event1.ok_{event_metric}"].at_least is None
