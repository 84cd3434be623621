"""Metrics of single events, event1.* to event6.*: what a change did to requests and sessions.

An event's interval is from when it was asked for to when the next one was, or to the end of the window;
requests belong to the interval in which they were planned, failed ones to the event to blame. Definitions:
harness.analysis.event_effects.EventEffects, harness.analysis.event_effects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from harness.metrics.metric import Metric, in_ms, share
from harness.metrics.spread import Number

if TYPE_CHECKING:
    from harness.metrics.event_facts import EventEffects
    from harness.metrics.facts import CellFacts

NAMED_EVENTS = 6  # those with metrics of their own; the summary has all

OfEvent = Callable[["EventEffects"], Number]


def _failed(event: EventEffects) -> int:
    return sum(event.errors.values())


# Name -> unit, meaning, function of the event's facts.
EVENT_METRICS: dict[str, tuple[str, str, OfEvent]] = {
    "requests": ("requests", "Requests planned in the interval", lambda e: e.requests),
    "failed_requests": (
        "requests",
        "Requests that did not end with OK: planned in the interval, or under way when what breaks calls "
        "happened",
        _failed,
    ),
    "error_share": (
        "share",
        "Requests of the interval that did not end with OK / requests",
        lambda e: share(e.requests - e.ok, e.requests),
    ),
    "failed_sessions": (
        "sessions",
        "Sessions with a request of the interval that failed",
        lambda e: e.failed_sessions,
    ),
    "last_failure_ms": (
        "ms",
        "From the event to the end of the last failed request of the interval; 0 when none failed",
        lambda e: in_ms(e.last_failure_ns),
    ),
    "delayed_requests": (
        "requests",
        "Requests that ended with OK, but took longer than twice the 99th percentile of those before the "
        "first event",
        lambda e: e.delayed,
    ),
    "longest_gap_ms": (
        "ms",
        "Longest time that a session waited, from a request's planned send to its next good answer",
        lambda e: in_ms(e.longest_gap_ns),
    ),
    "pinned_sessions": (
        "sessions",
        "Sessions with two answers or more before the event, all from one replica",
        lambda e: e.moves.pinned,
    ),
    "moved_sessions": (
        "sessions",
        "Pinned sessions whose last answer of the interval came from another replica",
        lambda e: e.moves.moved,
    ),
    "needed_moves": (
        "sessions",
        "Pinned sessions that had to move: their replica was taken away, or a replica that came has them now",
        lambda e: e.moves.needed,
    ),
    "moved_over_needed": (
        "ratio",
        "moved_sessions / needed_moves (counted as 1 at the least); 0 when none moved",
        lambda e: e.moves.moved_over_needed,
    ),
    "returned_share": (
        "share",
        "Of the sessions that were pinned to a target before it was lost, those that are back on it",
        lambda e: e.moves.returned_share,
    ),
    "breaks": (
        "breaks",
        "Times that a session's next answer, of the interval, came from another replica",
        lambda e: e.breaks,
    ),
    "first_answer_ms": (
        "ms",
        "From an event that brings replicas until one of them first answered a request planned after it",
        lambda e: in_ms(e.first_answer_ns),
    ),
    "fair_share_after_ms": (
        "ms",
        "From an event that brings replicas until each of them has 80 % of its fair share",
        lambda e: in_ms(e.fair_share_after_ns),
    ),
    "target_share": (
        "share",
        "Share of the interval's answered requests on the event's targets",
        lambda e: None if e.on_targets is None else share(e.on_targets, e.answered),
    ),
    "lost_answers": (
        "requests",
        "Of the failed ones, requests that a replica finished with OK",
        lambda e: e.lost_answers,
    ),
    "attempts_per_request": (
        "ratio",
        "Rows of the replicas / rows of the clients, of the interval's requests",
        lambda e: share(e.attempts, e.requests),
    ),
    "goodput_per_s": (
        "requests/s",
        "Requests of the interval that ended with OK / its length",
        lambda e: share(e.ok, e.length_s),
    ),
    "latency_p50_ms": (
        "ms",
        "Median latency from the planned send",
        lambda e: in_ms(e.latency_ns.get("p50")),
    ),
    "latency_p99_ms": ("ms", "99th percentile of it", lambda e: in_ms(e.latency_ns.get("p99"))),
    "took_effect_ms": (
        "ms",
        "From the event to the last that was seen to come of it in processes, replicas or Envoy",
        lambda e: in_ms(e.took_effect_ns),
    ),
}


def event_metrics() -> Iterator[tuple[str, Metric]]:
    """Every metric of the first NAMED_EVENTS events; None in a cell without such an event."""
    for number in range(1, NAMED_EVENTS + 1):
        for name, (unit, meaning, compute) in EVENT_METRICS.items():
            yield f"event{number}.{name}", Metric(unit, f"Event {number}: {meaning}", _of(number, compute))


def _of(number: int, compute: OfEvent) -> Callable[[CellFacts], Number]:
    def metric(facts: CellFacts) -> Number:
        event = next((event for event in facts.events if event.number == number), None)
        return None if event is None else compute(event)

    return metric


def event_metric(name: str) -> tuple[int, str] | None:
    """("event2.requests") -> (2, "requests"); None for a name that is no metric of an event."""
    group, _, leaf = name.partition(".")
    number = group.removeprefix("event")
    return (int(number), leaf) if number.isdecimal() and leaf in EVENT_METRICS else None
