"""What an event did to sessions that were on one replica: who moved, who had to, who came back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from harness.record.event_log import AskedEvent

# What takes its targets away from sessions, and what brings replicas to them. A replica that fails or is
# slow is still there.
TAKES = ("kill", "stop", "pause", "not_serving", "drain", "remove", "roll", "partition")
BRINGS = ("start", "resume", "serving", "add", "rejoin")

_SESSION = ("client", "session")
_MIN_ANSWERS = 2


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


def settled_sessions(answered: pl.DataFrame, since_ns: int, until_ns: int) -> pl.DataFrame:
    """client, session, replica of the sessions with two answers or more planned then.

    replica: that of all these answers; null where they came from several.
    answered: client, session, request_id, replica (number), at_ns.
    """
    before = answered.filter(pl.col("at_ns").is_between(since_ns, until_ns, closed="left"))
    each = before.group_by(_SESSION).agg(
        pl.len().alias("answers"),
        pl.col("replica").min(),
        pl.col("replica").max().alias("other"),
    )
    one = pl.when(pl.col("replica") == pl.col("other")).then("replica").alias("replica")
    return each.filter(pl.col("answers") >= _MIN_ANSWERS).select(*_SESSION, one)


def last_answers(answered: pl.DataFrame) -> pl.DataFrame:
    """client, session, last: the replica that gave each session's last answer among `answered`."""
    latest = pl.col("replica").get(pl.col("request_id").arg_max()).alias("last")
    return answered.group_by(_SESSION).agg(latest)


def count_moves(
    do: str, targets: Collection[int], settled: pl.DataFrame, lost: pl.DataFrame, last: pl.DataFrame
) -> SessionMigration:
    """What the event `do` on `targets` (numbers of replicas) did to sessions.

    settled: before the event. lost: those that were pinned to a target that it brings back, before that was
    taken away. last: each session's last answer of the interval.
    """
    sessions = settled.drop_nulls("replica").join(last, on=_SESSION, how="left")
    on_target = pl.col("replica").is_in(targets)
    moved = pl.col("last") != pl.col("replica")
    needed = pl.lit(value=False)
    if do in TAKES:
        needed = on_target
    elif do in BRINGS:
        needed = moved & pl.col("last").is_in(targets)
    counts = sessions.select(
        pl.len().alias("pinned"), moved.sum().alias("moved"), needed.sum().alias("needed")
    )
    seen = lost.join(last, on=_SESSION, how="inner")
    back = seen.select((pl.col("last") == pl.col("replica")).mean()).item() if seen.height else None
    return SessionMigration(seen=settled.height, **counts.row(0, named=True), returned_share=back)


MIN_OF_FAIR = 0.8
_MIN_CARRIED = 2  # a replica, on average: fewer in a time window say nothing


def present_after(first: Sequence[str], events: Sequence[AskedEvent]) -> set[str]:
    """The replicas that take part once these events are over. first: those at the start."""
    present = set(first)
    for event in events:
        if event.do in BRINGS:
            present |= set(event.targets)
        elif event.do in TAKES and event.do != "roll":
            present -= set(event.targets)
    return present


def fair_share_after(
    answered: pl.DataFrame, from_ns: int, to_ns: int, width_ns: int, targets: Sequence[int], present: int
) -> float:
    """ns from `from_ns` to the end of the first time window in which each target has its share, or nearly so.

    The time from `from_ns` to `to_ns` is cut into windows of `width_ns`; the fair share is 1 / `present` of a
    window's answered requests, whatever the replicas' sizes and weights, and MIN_OF_FAIR of it is enough.
    Windows with less than two answers a replica do not count. `to_ns - from_ns` when it never comes.
    answered: at_ns, replica (number).
    """
    windows = (to_ns - from_ns) // width_ns
    within = answered.filter(pl.col("at_ns").is_between(from_ns, from_ns + windows * width_ns, closed="left"))
    place = (within["at_ns"].to_numpy() - from_ns) // width_ns
    replica = within["replica"].to_numpy()
    counts = [np.bincount(place[replica == target], minlength=windows) for target in targets]
    total = np.bincount(place, minlength=windows)
    if not windows or not counts or not present:
        return float(to_ns - from_ns)
    enough = np.min(counts, axis=0) >= MIN_OF_FAIR * total / present
    found = np.flatnonzero(enough & (total >= _MIN_CARRIED * present))
    return float((found[0] + 1) * width_ns) if len(found) else float(to_ns - from_ns)
