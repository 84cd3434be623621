"""Metrics of single events of a simulated cell, computed from its outcome alone.

They mean what harness.metrics.event_metrics says, and harness.analysis.event_effects computes for a run. A
test holds them against that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from harness.metrics.event_metrics import NAMED_EVENTS
from harness.metrics.metric import NS_PER_MS, Number, share
from harness.testbed.simulated.predicted_metrics import PredictedCell


class PredictedEvent(NamedTuple):
    """An event of a cell. at_ns: from the start of measuring. targets: numbers of replicas.

    breaks_calls, returns: see harness.events.kind.EventKind.
    """

    number: int
    at_ns: int
    targets: Sequence[int]
    breaks_calls: bool
    returns: bool


class _Requests(NamedTuple):
    """The measured requests, (requests,): instants from the start of measuring, interval as planned.

    blamed: the interval of the event to which a failure is attributed. attempts: that reached a replica.
    """

    ok: Any
    replica: Any
    ended_ns: Any
    interval: Any
    blamed: Any
    attempts: Any


def metrics_of_events(cell: PredictedCell, events: Sequence[PredictedEvent]) -> dict[str, float]:
    """Return the metrics of a cell's events, which are in order of time, without those that have no value."""
    if not events:
        return {}
    requests = _requests(cell, events)
    edges_ns = [*(event.at_ns for event in events), round(cell.window_s * 1e9)]
    return {
        f"event{event.number}.{name}": float(value)
        for index, event in enumerate(events)
        if event.number <= NAMED_EVENTS
        for name, value in _metrics(requests, event, index + 1, edges_ns[index : index + 2])
        if value is not None
    }


def _requests(cell: PredictedCell, events: Sequence[PredictedEvent]) -> _Requests:
    at_ns = cell.calls.planned_ns[cell.measured]
    ended_ns = cell.of("answered_ns") - cell.outcome.measure_start_ns
    interval = np.searchsorted([event.at_ns for event in events], at_ns, side="right")
    blamed = interval.copy()
    for number, event in enumerate(events, 1):
        if event.breaks_calls:
            blamed[(at_ns < event.at_ns) & (ended_ns >= event.at_ns)] = number
    attempts = np.bincount(cell.outcome.attempts.call, minlength=len(cell.calls))[cell.measured]
    return _Requests(cell.ok, cell.of("replica"), ended_ns, interval, blamed, attempts)


def _metrics(
    requests: _Requests, event: PredictedEvent, interval: int, edges_ns: Sequence[int]
) -> Iterator[tuple[str, Number]]:
    from_ns, to_ns = edges_ns
    planned = requests.interval == interval
    count, ok = int(planned.sum()), requests.ok
    failed = ~ok & (requests.blamed == interval)
    answered = planned & (requests.replica >= 0)
    on_targets = answered & np.isin(requests.replica, event.targets)
    good = ok & (requests.ended_ns >= from_ns) & (requests.ended_ns < to_ns)
    yield "requests", count
    yield "failed_requests", int(failed.sum())
    yield "error_share", share(int((planned & ~ok).sum()), count)
    yield "last_failure_ms", float(requests.ended_ns[failed].max(initial=from_ns) - from_ns) / NS_PER_MS
    yield "target_share", share(int(on_targets.sum()), int(answered.sum()))
    yield "attempts_per_request", share(int(requests.attempts[planned].sum()), count)
    yield "goodput_per_s", share(int(good.sum()), (to_ns - from_ns) / 1e9)
    if event.returns and on_targets.any():
        yield "first_answer_ms", float(requests.ended_ns[on_targets].min() - from_ns) / NS_PER_MS
