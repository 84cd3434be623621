"""What an event did to sessions that were on one replica: who moved, who had to, who came back."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import polars as pl

from harness.events.kind import EventKind
from harness.events.registry import kind_of
from harness.metrics.event_facts import SessionMigration
from harness.record.event_log import AskedEvent

_SESSION = ("client", "session")
_MIN_ANSWERS = 2


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
    kind: EventKind, targets: Collection[int], settled: pl.DataFrame, lost: pl.DataFrame, last: pl.DataFrame
) -> SessionMigration:
    """What an event of that kind on `targets` (numbers of replicas) did to sessions.

    settled: before the event. lost: those that were pinned to a target that it brings back, before that was
    taken away. last: each session's last answer of the interval.
    """
    sessions = settled.drop_nulls("replica").join(last, on=_SESSION, how="left")
    on_target = pl.col("replica").is_in(targets)
    moved = pl.col("last") != pl.col("replica")
    needed = pl.lit(value=False)
    if kind.removes:
        needed = on_target
    elif kind.returns:
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
        membership = kind_of(event.do).membership
        if membership == "returns":
            present |= set(event.targets)
        elif membership == "removes":
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
