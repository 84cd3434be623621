"""The report's tables of events, made from summary.json: one for each event, with a row for each arm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from harness.events.registry import is_opposite, kind_of
from harness.metrics.metric import show
from harness.record.summary import ArmSummary, EventSummary
from harness.report.tables import ABSENT, Arms, Table, figure_of, figures

MAX_TABLES = 12
_COLUMNS = {
    "failed": "failed_requests",
    "sessions with failures": "failed_sessions",
    "last failure, ms": "last_failure_ms",
    "delayed": "delayed_requests",
    "longest gap, ms": "longest_gap_ms",
    "moved": "moved_sessions",
    "had to": "needed_moves",
    "lost answers": "lost_answers",
    "attempts per request": "attempts_per_request",
    "goodput, requests/s": "goodput_per_s",
    "p99, ms": "latency_p99_ms",
    "took effect, ms": "took_effect_ms",
}
_OF_PINNED = ("moved_sessions", "needed_moves")
_COLUMNS_OF_ARRIVAL = {
    "first answer, ms": "first_answer_ms",
    "fair share after, ms": "fair_share_after_ms",
    "share now": "target_share",
    "returned": "returned_share",
}
_CAPTION = (
    "Counted from the event to the next one, or to the end; medians over repeats. Failed: requests that did "
    "not end with OK. Delayed: OK, but slower than twice the p99 before the first event. Longest gap: that a "
    "session waited for a good answer. Moved: pinned sessions that another replica answers now; had to: "
    "those that could not stay or went to a replica that came (only where sessions are pinned). Lost "
    "answers: finished by a replica, never seen by the client."
)
_CAPTION_OF_ARRIVAL = (
    " Fair share after: until each replica that came had 80 % of its share. Returned: sessions back on the "
    "replica that had been taken from them."
)


def event_tables(arms: Arms) -> Iterator[Table]:
    """A table for each event number that any arm has, up to MAX_TABLES."""
    numbers = sorted({event.number for arm in arms.values() for event in arm.events})
    for number in numbers[:MAX_TABLES]:
        found = {name: event for name, arm in arms.items() for event in arm.events if event.number == number}
        yield _table(number, found, arms)


def _table(number: int, events: Mapping[str, EventSummary], arms: Arms) -> Table:
    arrival = any(kind_of(event.do).returns for event in events.values())
    columns = {**_COLUMNS, **(_COLUMNS_OF_ARRIVAL if arrival else {})}
    words = {
        "what": {name: what_happened(event) for name, event in events.items()},
        "how it is learned": {name: event.notification or ABSENT for name, event in events.items()},
    }
    # What is the same in all arms is said once, in the caption.
    alike = [next(iter(of_arm.values())) for of_arm in words.values() if len(set(of_arm.values())) == 1]
    unlike = {heading: of_arm for heading, of_arm in words.items() if len(set(of_arm.values())) > 1}
    rows = []
    for name, event in events.items():
        bounds = arms[name].bounds
        cells = [
            _shown(event, metric, bounds.get(f"event{number}.{metric}", ())) for metric in columns.values()
        ]
        rows.append([name, *(of_arm[name] for of_arm in unlike.values()), *cells])
    said = "".join(f" {one[:1].upper()}{one[1:]}." for one in alike if one != ABSENT)
    caption = f"Event {number}.{said} {_CAPTION}{_CAPTION_OF_ARRIVAL if arrival else ''}"
    return Table(["Arm", *unlike, *columns], rows, caption)


def what_happened(event: EventSummary) -> str:
    """Return the event in words: "kill replica-1 at 1.5 s". It names the targets of all repeats."""
    return f"{kind_of(event.do).label(event.targets)} at {show(round(event.at_s, 2))} s"


def _shown(event: EventSummary, metric: str, bounds: Sequence[float]) -> str:
    by_chance = metric in _OF_PINNED and event.metrics["moved_over_needed"] is None
    return ABSENT if by_chance else figure_of(event, metric, bounds)


def changes_table(arms: Arms) -> Table | None:
    """What sessions and Envoy went through in the whole window; None where nothing was changed."""
    if not any(arm.events for arm in arms.values()):
        return None
    metrics = {
        "longest gap, ms": "longest_gap_ms",
        "lost answers": "answers_lost",
        "breaks": "affinity.breaks",
        "healthy, least": "endpoints.healthy_min",
        "healthy, mean": "endpoints.healthy_mean",
    }
    return Table(
        ["Arm", *metrics],
        [[name, *figures(arm, metrics.values())] for name, arm in arms.items()],
        "The whole window; medians over repeats. Longest gap: the longest that a session waited for a good "
        "answer. Lost answers: finished by a replica, never seen by the client. Breaks: a session's next "
        "answer came from another replica. Healthy: replicas that Envoy had as healthy.",
    )


def event_line(arm: ArmSummary) -> str:
    """Return the main figures of an arm's events on one line; empty without any."""
    return "; ".join(_event_line(event) for event in arm.events)


def _event_line(event: EventSummary) -> str:
    metrics = event.metrics
    line = f"{kind_of(event.do).label(event.targets)}: {show(metrics['failed_requests'])} failed"
    if (gap_ms := metrics["longest_gap_ms"]) is not None:
        line += f", gap {show(round(gap_ms))} ms"
    if metrics["moved_over_needed"] is not None:
        line += f", moved {show(metrics['moved_sessions'])} ({show(metrics['needed_moves'])} had to)"
    return line


class TimedEvent(Protocol):
    """What `lasts_until_s` needs of an event; see harness.metrics.facts.EventEffects."""

    @property
    def number(self) -> int: ...
    @property
    def do(self) -> str: ...
    @property
    def targets(self) -> Sequence[str]: ...
    @property
    def undoes(self) -> int | None: ...
    @property
    def at_s(self) -> float: ...
    @property
    def took_effect_ns(self) -> float | None: ...


def lasts_until_s(event: TimedEvent, events: Sequence[TimedEvent], window_s: float) -> float | None:
    """Seconds from the start of measuring at which the event was over; None for a change that stays.

    Over is when another event ended it on one of its targets; where none did, the window's end.
    """
    kind = kind_of(event.do)
    if kind.temporary:
        took_ns = event.took_effect_ns
        return window_s if took_ns is None else min(window_s, event.at_s + took_ns / 1e9)
    if kind.opposite is None:
        return None
    for other in events:
        if other.undoes == event.number:
            return other.at_s
        later_opposite = other.undoes is None and other.at_s > event.at_s and is_opposite(other.do)
        if later_opposite and set(other.targets) & set(event.targets):
            return other.at_s
    return window_s
