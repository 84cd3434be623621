"""The values that a planned cell can have, and expectations that cannot fail or cannot be met."""

import math
from dataclasses import replace

import pytest

from harness.metrics.ranges import (
    ANY_AMOUNT,
    Planned,
    Range,
    range_of,
    range_of_times,
    why_undefined,
    why_vacuous,
)
from harness.metrics.registry import CAPACITY, METRICS

PLAIN = Planned(replicas=3)
RICH = Planned(
    replicas=8, events=6, streams=True, cache=True, target_groups=True, zones=True, rate_changes=True
)


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ("share.replica-5", "there is no replica-5; expected replica-0 to replica-2"),
        ("share.replica-3", "there is no replica-3; expected replica-0 to replica-2"),
        ("event1.breaks", "the arm has no events, and no event 1"),
        ("cache.hit_share", "the replicas have no cache"),
        ("capacity_per_s", "the experiment has no `search`"),
        ("stream.purity", "the workload has no streams"),
        ("message_latency_ms.p99", "the workload has no streams"),
        ("affinity.group_purity", "the arm has no target groups"),
        ("recovery_ms", "the rate does not change"),
        ("knee_per_s", "the rate does not change"),
        (
            "endpoints.healthy_min",
            "healthy endpoints are watched only behind Envoy and where there are events",
        ),
    ],
)
def test_a_metric_that_the_plan_cannot_have(metric: str, reason: str) -> None:
    assert why_undefined(metric, PLAIN) == reason
    assert why_undefined(metric, replace(RICH, searched=True)) is None


def test_events_and_replicas_are_counted() -> None:
    two = replace(PLAIN, events=2)
    assert why_undefined("event2.breaks", two) is None
    assert why_undefined("event3.breaks", two) == "the arm has 2 events, and no event 3"
    assert why_undefined("event2.breaks", replace(two, events=1)) == "the arm has 1 event, and no event 2"
    assert why_undefined("share.replica-2", PLAIN) is None
    assert why_undefined("attempt_share.replica-2", PLAIN) is None
    assert why_undefined("attempt_share.replica-3", PLAIN) == why_undefined("share.replica-3", PLAIN)
    assert why_undefined("share.replica-1", Planned(1)) == "there is no replica-1; expected replica-0"


def test_only_the_proxy_counts_bytes() -> None:
    assert why_undefined("bytes.per_request", replace(PLAIN, proxied=False)) == (
        "only Envoy counts bytes, and the arm does not go through it"
    )
    assert why_undefined("endpoints.healthy_min", replace(RICH, proxied=False)) is not None


def test_every_metric_has_a_range() -> None:
    for metric in METRICS:
        assert why_undefined(metric, replace(RICH, searched=metric == CAPACITY)) is None
        possible = range_of(metric, RICH)
        assert 0 <= possible.low < possible.high


@pytest.mark.parametrize(
    ("metric", "low", "high"),
    [
        ("error_share", 0, 1),
        ("event1.target_share", 0, 1),
        ("affinity.purity", 0, 1),
        ("spread.max_over_mean", 1, 8),
        ("spread.effective_replicas", 1, 8),
        ("spread.used_replicas", 1, 8),
        ("spread.jain", 1 / 8, 1),
        ("spread.cv", 0, math.sqrt(7)),
        ("per_client.replicas", 1, 8),
        ("endpoints.healthy_min", 0, 8),
        ("messages.max_over_mean", 1, 8),
        ("latency_ms.p99", 0, math.inf),
        ("attempts.per_request", 0, math.inf),
        ("attempts.max_over_mean", 1, 8),
        ("attempt_share.replica-0", 0, 1),
    ],
)
def test_the_ends_of_what_is_possible(metric: str, low: float, high: float) -> None:
    assert range_of(metric, RICH) == Range(low, high)


def test_four_pinned_clients_leave_half_of_eight_replicas_idle() -> None:
    pinned = replace(RICH, placements=4)
    assert range_of("spread.max_over_mean", pinned) == Range(2, 8)
    assert range_of("spread.cv", pinned) == Range(1, math.sqrt(7))
    assert range_of("spread.used_replicas", pinned) == Range(1, 8)
    assert range_of("spread.jain", pinned) == Range(1 / 8, 1 / 2)
    reason = why_vacuous(1.9, True, range_of("spread.max_over_mean", pinned))
    assert reason == "cannot fail: the metric is never below 2 here"
    assert range_of("spread.max_over_mean", replace(RICH, placements=100)) == Range(1, 8)


def test_no_call_outlasts_its_deadline() -> None:
    limited = replace(PLAIN, deadline_ms=60.0)
    assert why_vacuous(100, False, range_of("ok_latency_ms.p99", limited)) == (
        "cannot fail: the metric is never above 60 here"
    )
    assert why_vacuous(61, True, range_of("ok_latency_ms.max", limited)) == (
        "cannot be met: the metric is never above 60 here"
    )
    assert why_vacuous(55, False, range_of("ok_latency_ms.p99", limited)) is None
    assert not range_of("ok_latency_ms.p99", limited).is_exact
    waits = replace(limited, sent_on_time=False)
    assert range_of("ok_latency_ms.p99", waits) == ANY_AMOUNT
    assert range_of("queue_ms.p99", limited) == ANY_AMOUNT


def test_a_deadline_limits_no_latency_of_all_requests() -> None:
    """What it cuts off counts as longer than any answer, so that a bound beyond it can fail."""
    for group in ("latency_ms", "latency_from_send_ms"):
        for rank in ("p50", "p99", "max"):
            assert range_of(f"{group}.{rank}", replace(PLAIN, deadline_ms=60.0)) == ANY_AMOUNT


@pytest.mark.parametrize(
    ("bound", "is_least", "reason"),
    [
        (0, True, "cannot fail: the metric is never below 0 here"),
        (1, False, "cannot fail: the metric is never above 1 here"),
        (1.5, False, "cannot fail: the metric is never above 1 here"),
        (1.5, True, "cannot be met: the metric is never above 1 here"),
        (-0.1, False, "cannot be met: the metric is never below 0 here"),
        (0, False, None),
        (1, True, None),
        (0.5, True, None),
    ],
)
def test_an_expectation_has_to_be_able_to_fail_and_to_hold(
    bound: float, is_least: bool, reason: str | None
) -> None:
    assert why_vacuous(bound, is_least, Range(0, 1)) == reason


def test_ratios_have_a_range_as_well() -> None:
    spread = Range(1, 8)
    assert range_of_times(spread, spread) == Range(1 / 8, 8)
    assert range_of_times(Range(0, 1), Range(0, 1)) == Range(0, math.inf)
    assert range_of_times(ANY_AMOUNT, ANY_AMOUNT) == Range(0, math.inf)
    assert why_vacuous(8.5, True, range_of_times(spread, spread)) == (
        "cannot be met: the metric is never above 8 here"
    )
