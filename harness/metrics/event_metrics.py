"""Metrics of single events, event1.* to event6.*: the effect of a change on requests and sessions.

harness.metrics.facts.EventEffects defines an event's interval, and which requests belong to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from harness.metrics.metric import Metric, Number, Sort, in_ms, share

if TYPE_CHECKING:
    from harness.metrics.facts import CellFacts, EventEffects

NAMED_EVENTS = 6  # events that have metrics of their own; summary.json has all events


class EventMetric(NamedTuple):
    """A metric of one event: a function of the event's facts. The other fields are those of Metric."""

    unit: str
    meaning: str
    compute: Callable[[EventEffects], Number]
    sort: Sort = "load"
    one_event: Callable[[EventEffects], Number] | None = None
    at_least: Callable[[EventEffects], Number] | None = None
    headline: str = ""
    clause: str = ""


def _failed(event: EventEffects) -> int:
    return sum(event.errors.values())


def _single(_: EventEffects) -> int:
    return 1


EVENT_METRICS: dict[str, EventMetric] = {
    "requests": EventMetric(
        "requests",
        "Requests planned in the interval",
        lambda e: e.requests,
        "counts",
        headline="requests",
        clause="{} were planned",
    ),
    "failed_requests": EventMetric(
        "requests",
        "Requests that did not end with OK. Either they were planned in the interval, or they were under way "
        "when an event that breaks calls was asked for",
        _failed,
        one_event=_single,
        headline="failed requests",
        clause="{} failed",
    ),
    "error_share": EventMetric(
        "share",
        "Requests of the interval that did not end with OK / all requests of the interval",
        lambda e: share(e.requests - e.ok, e.requests),
        one_event=lambda e: share(1, e.requests),
        headline="share of failed requests",
        clause="{} of the requests failed",
    ),
    "failed_sessions": EventMetric(
        "sessions",
        "Sessions with a failed request (see `failed_requests`)",
        lambda e: e.failed_sessions,
        one_event=_single,
        headline="sessions with a failed request",
        clause="{} had a failed request",
    ),
    "last_failure_ms": EventMetric(
        "ms",
        "Time from the event to the end of its last failed request; 0 when none failed",
        lambda e: in_ms(e.last_failure_ns),
        "times",
        headline="time until the last failure",
        clause="requests failed for {}",
    ),
    "delayed_requests": EventMetric(
        "requests",
        "Requests that ended with OK but took longer than twice the 99th percentile latency of the requests "
        "with OK that were planned before the first event, however few",
        lambda e: e.delayed,
        one_event=_single,
        headline="delayed requests",
        clause="{} were delayed",
    ),
    "longest_gap_ms": EventMetric(
        "ms",
        "`longest_gap_ms` of the requests planned in the interval. The answer that ends the gap may come "
        "after the interval",
        lambda e: in_ms(e.longest_outage_ns),
        "times",
        headline="longest gap of a session",
        clause="the longest time that a session waited for a good answer was {}",
    ),
    "pinned_sessions": EventMetric(
        "sessions",
        'Sessions with two answers or more before the event, all from one replica. "Before" begins when the '
        "previous event had taken effect (when it was asked for, if it had not taken effect "
        "before this event; for the first event: at the start of measuring) and ends when this event was "
        "asked for",
        lambda e: e.migration.pinned,
        "counts",
        headline="pinned sessions",
        clause="{} were on one replica before",
    ),
    "moved_sessions": EventMetric(
        "sessions",
        "Pinned sessions whose last answer of the interval came from another replica",
        lambda e: e.migration.moved,
        "counts",
        one_event=_single,
        headline="moved sessions",
        clause="{} moved",
    ),
    "needed_moves": EventMetric(
        "sessions",
        "Pinned sessions that had to move. An event that removes replicas: the sessions on one of them. An "
        "event that returns replicas: the sessions whose last answer came from one of them, and before did "
        "not. Other events: none, because a replica that is slow or fails is still there",
        lambda e: e.migration.needed,
        "counts",
        headline="sessions that had to move",
        clause="{} had to move",
    ),
    "moved_over_needed": EventMetric(
        "ratio",
        "`moved_sessions` / `needed_moves`; a `needed_moves` of 0 counts as 1. 0 when none moved. null when "
        "less than half of the sessions with two answers before the event were pinned: then those were "
        "pinned by chance",
        lambda e: e.migration.moved_over_needed,
        "counts",
        headline="moved sessions / sessions that had to move",
        clause="{} times as many sessions moved as had to",
    ),
    "returned_share": EventMetric(
        "share",
        "For an event that returns replicas. Of the sessions that were pinned to a target before it was last "
        "removed, and that have an answer in the interval: the share whose last answer came from it again",
        lambda e: e.migration.returned_share,
        "counts",
        headline="share of sessions that returned",
        clause="{} of the moved sessions returned to their old replica",
    ),
    "breaks": EventMetric(
        "breaks",
        "How often the next answer of a session, to a request of the interval, came from another replica "
        "than its answer before",
        lambda e: e.breaks,
        "counts",
        one_event=_single,
        headline="moves of a session between two requests",
        clause="sessions had {} of affinity",
    ),
    "first_answer_ms": EventMetric(
        "ms",
        "For an event that returns replicas: time until one of them first answered a request of the interval",
        lambda e: in_ms(e.first_answer_ns),
        "times",
        headline="time until the first answer",
        clause="the first answer took {}",
    ),
    "fair_share_after_ms": EventMetric(
        "ms",
        "For an event that returns replicas: time until the end of the first time window in which each of "
        "them has 80 % of its fair share of the answered requests (1 / replicas present). The windows count "
        "from the event. Their width is the smallest of ..., 0.1, 0.2, 0.5, 1, ... s that cuts the measured "
        "window into 30 or less, as in the plots of shares. Windows with less than two answers for each "
        "replica do not count. The interval's length when that never happens",
        lambda e: in_ms(e.fair_share_after_ns),
        "times",
        headline="time until a fair share",
        clause="the fair share took {}",
    ),
    "target_share": EventMetric(
        "share",
        "Share of the interval's answered requests on the event's targets, which are replicas or proxy "
        "nodes; null for events of a proxy with one node",
        lambda e: None if e.on_targets is None else share(e.on_targets, e.answered),
        "counts",
        headline="share of the event's targets",
        clause="the targets got {} of the requests",
    ),
    "lost_answers": EventMetric(
        "requests",
        "Failed requests that a replica finished with OK",
        lambda e: e.lost_answers,
        one_event=_single,
        headline="lost answers",
        clause="{} lost their answer",
    ),
    "attempts_per_request": EventMetric(
        "ratio",
        "Rows of the replicas / rows of the clients, for the interval's requests",
        lambda e: share(e.attempts, e.requests),
        headline="attempts per request",
        clause="a request took {} attempts on average",
    ),
    "goodput_per_s": EventMetric(
        "requests/s",
        "Requests that ended with OK inside the interval, whenever planned / length of the interval",
        lambda e: share(e.good_answers, e.length_s),
        headline="goodput",
    ),
    "latency_p50_ms": EventMetric(
        "ms",
        "Median latency (done - planned) of all requests of the interval; null where it falls on a failed "
        "request, see `latency_ms`",
        lambda e: in_ms(e.latency.of_all_ns.get("p50")),
        "times",
        at_least=lambda e: in_ms(e.latency.at_least_ns.get("p50")),
        headline="median latency",
    ),
    "latency_p99_ms": EventMetric(
        "ms",
        "99th percentile latency (done - planned) of all requests of the interval; null where it falls on a "
        "failed request, see `latency_ms`",
        lambda e: in_ms(e.latency.of_all_ns.get("p99")),
        "times",
        at_least=lambda e: in_ms(e.latency.at_least_ns.get("p99")),
        headline="p99 latency",
    ),
    "ok_latency_p50_ms": EventMetric(
        "ms",
        "Median latency (done - planned) of the interval's requests that ended with OK",
        lambda e: in_ms(e.latency.of_ok_ns.get("p50")),
        "times",
        headline="median latency of OK alone",
    ),
    "ok_latency_p99_ms": EventMetric(
        "ms",
        "99th percentile latency (done - planned) of the interval's requests that ended with OK",
        lambda e: in_ms(e.latency.of_ok_ns.get("p99")),
        "times",
        headline="p99 latency of OK alone",
    ),
    "took_effect_ms": EventMetric(
        "ms",
        "Time until the last effect of the event was seen in processes, replicas or Envoy (`took_effect`)",
        lambda e: in_ms(e.took_effect_ns),
        "times",
        headline="time until it took effect",
    ),
}


def event_metrics() -> Iterator[tuple[str, Metric]]:
    """Yield (name, metric) for each metric of the first NAMED_EVENTS events.

    A metric is None in a cell without that event.
    """
    for number in range(1, NAMED_EVENTS + 1):
        for name, metric in EVENT_METRICS.items():
            at_least = metric.at_least and _of_event(number, metric.at_least)
            one_event = metric.one_event and _of_event(number, metric.one_event)
            yield (
                f"event{number}.{name}",
                Metric(
                    metric.unit,
                    f"Event {number}: {metric.meaning}",
                    _of_event(number, metric.compute),
                    metric.sort,
                    one_event=one_event,
                    at_least=at_least,
                    headline=f"{metric.headline} after event {number}",
                    # Whoever says it says first which event it was.
                    clause=metric.clause or f"the {metric.headline} was {{}}",
                ),
            )


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
