"""What each event of a cell did, counted: the facts that the metrics of events are functions of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SessionMigration:
    """Sessions, by what an event did to them.

    seen: with two answers or more from when the event before had taken effect (for the first: from the
    start of measuring) until this one was asked for. pinned: of these, all answers came from one replica.
    moved: pinned ones whose last answer of the interval came from another replica.
    needed: pinned ones that could not stay, or had a reason to go: their replica was a target that was taken
    away, or their last answer came from another replica that the event brought.
    returned_share: of the sessions that had been pinned to a target before the last event that took it
    away, and that have an answer in the interval, the share whose last one is from that target. None where
    there is no such session, or the event brings nothing back.
    """

    seen: int = 0
    pinned: int = 0
    moved: int = 0
    needed: int = 0
    returned_share: float | None = None

    @property
    def moved_over_needed(self) -> float | None:
        """moved / needed, the latter counted as 1 at the least.

        None where less than half of the sessions seen were pinned: the others are then so by chance.
        """
        if not self.pinned or 2 * self.pinned < self.seen:
            return None
        return self.moved / max(1, self.needed)


@dataclass(frozen=True)
class EventEffects:
    """One event and its interval: from when it was asked for to the next one's, or to the window's end.

    Requests belong to the interval in which they were planned, failed ones to the event to blame, see
    `failures`. Durations count from the event. requests: all of the interval; ok: ended with OK.
    at_s: when it was asked for, seconds from the start of measuring; length_s: of the interval.
    effects: (seconds from the start of measuring, target, what was seen); took_effect_ns: the last of them.
    steps: (the same, what, target). details: the event's own parameters.
    errors: gRPC code -> requests, without OK. failed_sessions: with a failed request.
    last_failure_ns: until the last failed request ended; 0 when none failed.
    delayed: requests that ended with OK but took longer than DELAYED_TIMES the 99th percentile latency of
    those (with OK) planned before the first event; None where there were none.
    longest_gap_ns: see session_outages; None without a request.
    moves: see session_migration.
    breaks: times that a session's next answer, of this interval, came from another replica.
    first_answer_ns: until one of the replicas that the event brings first answered a request that was planned
    after it; None where none did, or the event brings none.
    fair_share_after_ns: see harness.analysis.session_migration; None for an event that brings no replicas.
    present: replicas that take part once the event is over.
    answered: requests that name a replica; on_targets: those that name one of the targets, None where those
    are no replicas.
    attempts: rows of the replicas for the interval's requests. lost_answers: see harness.analysis.lost.
    """

    number: int
    do: str
    targets: tuple[str, ...]
    undoes: int | None
    notification: str
    at_s: float
    length_s: float
    requests: int
    ok: int
    errors: dict[str, int]
    failed_sessions: int
    last_failure_ns: float
    delayed: int | None
    longest_gap_ns: float | None
    moves: SessionMigration
    breaks: int
    first_answer_ns: float | None
    fair_share_after_ns: float | None
    present: int
    answered: int
    on_targets: int | None
    attempts: int
    lost_answers: int
    latency_ns: dict[str, float]
    took_effect_ns: float | None = None
    effects: tuple[tuple[float, str, str], ...] = ()
    steps: tuple[tuple[float, str, str], ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
