"""Metrics of single events, event1.* to event6.*: the effect of a change on requests and sessions.

harness.metrics.facts.EventEffects defines an event's interval, and which requests belong to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from harness.metrics.metric import Metric, Number, in_ms, share

if TYPE_CHECKING:
    from harness.metrics.facts import CellFacts, EventEffects

NAMED_EVENTS = 6  # events that have metrics of their own; summary.json has all events


class EventMetric(NamedTuple):
    """A metric of one event: its unit, its meaning (see Metric), and a function of the event's facts."""

    unit: str
    meaning: str
    compute: Callable[[EventEffects], Number]
    at_least: Callable[[EventEffects], Number] | None = None


def _failed(event: EventEffects) -> int:
    return sum(event.errors.values())


EVENT_METRICS: dict[str, EventMetric] = {
    "requests": EventMetric("requests", "Requests planned in the interval", lambda e: e.requests),
    "failed_requests": EventMetric(
        "requests",
        "Requests that did not end with OK. Either they were planned in the interval, or they were under way "
        "when an event that breaks calls was asked for",
        _failed,
    ),
    "error_share": EventMetric(
        "share",
        "Requests of the interval that did not end with OK / all requests of the interval",
        lambda e: share(e.requests - e.ok, e.requests),
    ),
    "failed_sessions": EventMetric(
        "sessions", "Sessions with a failed request (see `failed_requests`)", lambda e: e.failed_sessions
    ),
    "last_failure_ms": EventMetric(
        "ms",
        "Time from the event to the end of its last failed request; 0 when none failed",
        lambda e: in_ms(e.last_failure_ns),
    ),
    "delayed_requests": EventMetric(
        "requests",
        "Requests that ended with OK but took longer than twice the 99th percentile latency of the requests "
        "with OK that were planned before the first event",
        lambda e: e.delayed,
    ),
    "longest_gap_ms": EventMetric(
        "ms",
        "`longest_gap_ms` of the requests planned in the interval. The answer that ends the gap may come "
        "after the interval",
        lambda e: in_ms(e.longest_outage_ns),
    ),
    "pinned_sessions": EventMetric(
        "sessions",
        'Sessions with two answers or more before the event, all from one replica. "Before" begins when the '
        "previous event had taken effect (for the first event: at the start of measuring) and ends when this "
        "event was asked for",
        lambda e: e.migration.pinned,
    ),
    "moved_sessions": EventMetric(
        "sessions",
        "Pinned sessions whose last answer of the interval came from another replica",
        lambda e: e.migration.moved,
    ),
    "needed_moves": EventMetric(
        "sessions",
        "Pinned sessions that had to move. An event that removes replicas: the sessions on one of them. An "
        "event that returns replicas: the sessions whose last answer came from one of them, and before did "
        "not. Other events: none, because a replica that is slow or fails is still there",
        lambda e: e.migration.needed,
    ),
    "moved_over_needed": EventMetric(
        "ratio",
        "`moved_sessions` / `needed_moves`; a `needed_moves` of 0 counts as 1. 0 when none moved. null when "
        "less than half of the sessions with two answers before the event were pinned: then those were "
        "pinned by chance",
        lambda e: e.migration.moved_over_needed,
    ),
    "returned_share": EventMetric(
        "share",
        "For an event that returns replicas. Of the sessions that were pinned to a target before it was last "
        "removed, and that have an answer in the interval: the share whose last answer came from it again",
        lambda e: e.migration.returned_share,
    ),
    "breaks": EventMetric(
        "breaks",
        "How often the next answer of a session, to a request of the interval, came from another replica "
        "than its answer before",
        lambda e: e.breaks,
    ),
    "first_answer_ms": EventMetric(
        "ms",
        "For an event that returns replicas: time until one of them first answered a request that was "
        "planned after the event",
        lambda e: in_ms(e.first_answer_ns),
    ),
    "fair_share_after_ms": EventMetric(
        "ms",
        "For an event that returns replicas: time until the end of the first time window in which each of "
        "them has 80 % of its fair share of the answered requests (1 / replicas present). The windows are as "
        "wide as those of the plots of shares, and count from the event. The interval's length when that "
        "never happens",
        lambda e: in_ms(e.fair_share_after_ns),
    ),
    "target_share": EventMetric(
        "share",
        "Share of the interval's answered requests on the event's targets; null for events of the proxy",
        lambda e: None if e.on_targets is None else share(e.on_targets, e.answered),
    ),
    "lost_answers": EventMetric(
        "requests", "Failed requests that a replica finished with OK", lambda e: e.lost_answers
    ),
    "attempts_per_request": EventMetric(
        "ratio",
        "Rows of the replicas / rows of the clients, for the interval's requests",
        lambda e: share(e.attempts, e.requests),
    ),
    "goodput_per_s": EventMetric(
        "requests/s",
        "Requests of the interval that ended with OK / length of the interval",
        lambda e: share(e.ok, e.length_s),
    ),
    "latency_p50_ms": EventMetric(
        "ms",
        "Median latency (done - planned) of all requests of the interval; null where it falls on a failed "
        "request, see `latency_ms`",
        lambda e: in_ms(e.latency.of_all_ns.get("p50")),
        lambda e: in_ms(e.latency.at_least_ns.get("p50")),
    ),
    "latency_p99_ms": EventMetric(
        "ms",
        "99th percentile latency (done - planned) of all requests of the interval; null where it falls on a "
        "failed request, see `latency_ms`",
        lambda e: in_ms(e.latency.of_all_ns.get("p99")),
        lambda e: in_ms(e.latency.at_least_ns.get("p99")),
    ),
    "ok_latency_p50_ms": EventMetric(
        "ms",
        "Median latency (done - planned) of the interval's requests that ended with OK",
        lambda e: in_ms(e.latency.of_ok_ns.get("p50")),
    ),
    "ok_latency_p99_ms": EventMetric(
        "ms",
        "99th percentile latency (done - planned) of the interval's requests that ended with OK",
        lambda e: in_ms(e.latency.of_ok_ns.get("p99")),
    ),
    "took_effect_ms": EventMetric(
        "ms",
        "Time until the last effect of the event was seen in processes, replicas or Envoy (`took_effect`)",
        lambda e: in_ms(e.took_effect_ns),
    ),
}


def event_metrics() -> Iterator[tuple[str, Metric]]:
    """Yield (name, metric) for each metric of the first NAMED_EVENTS events.

    A metric is None in a cell without that event.
    """
    for number in range(1, NAMED_EVENTS + 1):
        for name, metric in EVENT_METRICS.items():
            compute = _of_event(number, metric.compute)
            at_least = metric.at_least and _of_event(number, metric.at_least)
            meaning = f"Event {number}: {metric.meaning}"
            yield f"event{number}.{name}", Metric(metric.unit, meaning, compute, at_least)


def _of_event(number: int, compute: Callable[[EventEffects], Number]) -> Callable[[CellFacts], Number]:
    def metric(facts: CellFacts) -> Number:
        event = next((event for event in facts.events if event.number == number), None)
        return None if event is None else compute(event)

    return metric


def event_metric(name: str) -> tuple[int, str] | None:
    """Split the name of an event's metric: "event2.requests" -> (2, "requests"); None for other names."""
    group, _, metric = name.partition(".")
    number = group.removeprefix("event")
    return (int(number), metric) if number.isdecimal() and metric in EVENT_METRICS else None
