"""Latency where requests failed: by hand, and properties that hold whatever fails."""

import math
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.claims import Claim, decide
from harness.analysis.facts import collect_facts
from harness.analysis.latency import latency_of
from harness.analysis.statistics import Repeats
from harness.metrics.facts import Latency
from harness.metrics.metric import RANKS
from harness.metrics.registry import METRICS
from tests.unit.synthetic.handwritten_cell import MS, row, write_cell

# Time until the end, and whether it ended with OK.
REQUESTS = st.lists(st.tuples(st.integers(0, 10**12), st.booleans()), min_size=1, max_size=200)


def latency(requests: Sequence[tuple[int, bool]]) -> Latency:
    table = pl.DataFrame(requests, schema={"took_ns": pl.Int64, "ok": pl.Boolean}, orient="row")
    return latency_of(table, "took_ns")


def test_by_hand() -> None:
    """Thirty requests: enough for p50 and p90. Twenty take 1 to 20 ns, nine fail at once, one after 500."""
    found = latency([(n, True) for n in range(1, 21)] + [(0, False)] * 9 + [(500, False)])
    assert found.of_all_ns == {"p50": 15, "p90": math.inf, "max": math.inf}
    assert found.at_least_ns == {"p50": 15, "p90": 18, "max": 500}
    assert found.of_ok_ns == {"p50": 10, "max": 20}  # twenty are too few for p90


def test_nothing_that_ended_with_ok_has_no_latency_of_ok() -> None:
    found = latency([(5, False), (6, False)] * 3)
    assert set(found.of_all_ns.values()) == {math.inf}
    assert found.of_ok_ns == {}
    assert found.at_least_ns["p50"] == 5


def test_without_requests_there_is_none() -> None:
    assert latency([]) == Latency({}, {}, {})


def test_a_deadline_does_not_make_it_look_better(tmp_path: Path) -> None:
    """289 of 300 requests are cut off after 500 ms; "p99 at most 550 ms" would hold of their durations."""
    answered = [row(n, "replica-0", sent_ns=0, done_ns=400 * MS) for n in range(11)]
    cut_off = {"sent_ns": 0, "done_ns": 500 * MS, "code": "DEADLINE_EXCEEDED"}
    rows = [*answered, *(row(n, "", **cut_off) for n in range(11, 300))]
    facts = collect_facts(write_cell(tmp_path, rows))
    for name in ("latency_ms.p99", "latency_from_send_ms.p99", "latency_ms.p50"):
        metric = METRICS[name]
        assert metric.compute(facts) == math.inf
        assert metric.at_least is not None
        assert metric.at_least(facts) == 500
    assert METRICS["ok_latency_ms.max"].compute(facts) == 400
    claim = Claim(bound=550, is_least=False)
    decided = decide({n: METRICS["latency_ms.p99"].compute(facts) for n in (1, 2, 3)}, claim, Repeats(3, 3))
    assert (decided.verdict, decided.reason) == ("refuted", "the interval is infinity")


@given(REQUESTS)
def test_a_percentile_of_all_says_how_many_had_an_answer_by_then(requests: list[tuple[int, bool]]) -> None:
    """That is what "p99 at most 550 ms" claims: 99 of 100 requests ended with OK within 550 ms."""
    for name, value in latency(requests).of_all_ns.items():
        needed = math.ceil(round(RANKS[name] * len(requests), 6))
        if value < math.inf:
            assert sum(ok and took <= value for took, ok in requests) >= needed
            assert sum(ok and took < value for took, ok in requests) < needed
        else:
            assert sum(ok for _, ok in requests) < needed


@given(REQUESTS)
def test_it_lies_between_what_it_is_at_least_and_infinity(requests: list[tuple[int, bool]]) -> None:
    found = latency(requests)
    assert found.at_least_ns.keys() == found.of_all_ns.keys() >= found.of_ok_ns.keys()
    assert all(found.at_least_ns[name] <= value for name, value in found.of_all_ns.items())
    assert all(value <= found.of_all_ns[name] for name, value in found.of_ok_ns.items())


@given(REQUESTS)
def test_what_is_shown_of_rising_percentiles_never_falls(requests: list[tuple[int, bool]]) -> None:
    found = latency(requests)
    shown = [
        value if value < math.inf else found.at_least_ns[name] for name, value in found.of_all_ns.items()
    ]
    assert shown == sorted(shown)


def test_quick_failures_lower_no_percentile() -> None:
    """Half of the requests fail at once: the median is the longest answer, and p90 at least that."""
    found = latency([(n, True) for n in range(1, 21)] + [(0, False)] * 20)
    assert found.of_all_ns["p50"] == 20
    assert found.at_least_ns["p90"] == 20  # 36 of 40 requests ended within 16 ns


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=100))
def test_where_nothing_failed_all_are_the_same(took_ns: list[int]) -> None:
    found = latency([(ns, True) for ns in took_ns])
    assert found.of_all_ns == found.at_least_ns == found.of_ok_ns


@given(REQUESTS, st.integers(0, 10**12))
def test_an_earlier_deadline_never_lowers_it(requests: list[tuple[int, bool]], deadline_ns: int) -> None:
    cut = [(min(took, deadline_ns), ok and took <= deadline_ns) for took, ok in requests]
    whole, limited = latency(requests), latency(cut)
    assert all(limited.of_all_ns[name] >= value for name, value in whole.of_all_ns.items())


@pytest.mark.parametrize("event_metric", ["latency_p50_ms", "latency_p99_ms"])
def test_metrics_of_events_have_a_lower_end_as_well(event_metric: str) -> None:
    assert METRICS[f"event1.{event_metric}"].at_least is not None
    assert METRICS[f"event1.ok_{event_metric}"].at_least is None
