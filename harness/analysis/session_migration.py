"""Session migration: which sessions an event moved, which had to move, and which came back."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import polars as pl

from harness.events.kind import EventKind
from harness.events.registry import kind_of
from harness.metrics.facts import SessionMigration
from harness.record.event_log import AskedEvent

_SESSION = ("client", "session")
_MIN_ANSWERS = 2

MIN_OF_FAIR = 0.8
_MIN_ANSWERS_PER_REPLICA = 2  # on average, in a time window: fewer answers show no share


def settled_sessions(answered: pl.DataFrame, since_ns: int, until_ns: int) -> pl.DataFrame:
    """Return the sessions with two answers or more to requests planned from `since_ns` to `until_ns`.

    Columns of the result: client, session, replica. replica is null where the answers came from several
    replicas.
    answered: client, session, request_id, replica (index), at_ns.
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
    """Return client, session, last: the replica that gave each session's last answer in `answered`."""
    latest = pl.col("replica").get(pl.col("request_id").arg_max()).alias("last")
    return answered.group_by(_SESSION).agg(latest)


def count_migration(
    kind: EventKind,
    targets: Collection[int],
    settled: pl.DataFrame,
    removed: pl.DataFrame,
    last: pl.DataFrame,
) -> SessionMigration:
    """Return the session migration of an event of that kind on `targets` (indexes of replicas).

    settled: see settled_sessions, before the event. removed: the sessions that were pinned to a target before
    it was removed, if this event returns it. last: see last_answers, in the event's interval.
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
    answered = removed.join(last, on=_SESSION, how="inner")
    back = answered.select((pl.col("last") == pl.col("replica")).mean()).item() if answered.height else None
    return SessionMigration(seen=settled.height, **counts.row(0, named=True), returned_share=back)


def present_after(initial: Sequence[str], events: Sequence[AskedEvent]) -> set[str]:
    """Return the replicas that take part after these events. initial: the replicas at the start."""
    present = set(initial)
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
    """Return the time (ns) until each target has MIN_OF_FAIR of its fair share, for one time window.

    The time from `from_ns` to `to_ns` is cut into windows of `width_ns`. The fair share is 1 / `present` of a
    window's answered requests, whatever the replicas' sizes and weights. The result is the time from
    `from_ns` to the end of the first window in which each target has enough; `to_ns - from_ns` if there is
    none. Windows with less than _MIN_ANSWERS_PER_REPLICA answers per replica do not count.
    answered: at_ns, replica (index).
    """
    windows = (to_ns - from_ns) // width_ns
    within = answered.filter(pl.col("at_ns").is_between(from_ns, from_ns + windows * width_ns, closed="left"))
    window = (within["at_ns"].to_numpy() - from_ns) // width_ns
    replica = within["replica"].to_numpy()
    counts = [np.bincount(window[replica == target], minlength=windows) for target in targets]
    total = np.bincount(window, minlength=windows)
    if not windows or not counts or not present:
        return float(to_ns - from_ns)
    enough = np.min(counts, axis=0) >= MIN_OF_FAIR * total / present
    found = np.flatnonzero(enough & (total >= _MIN_ANSWERS_PER_REPLICA * present))
    return float((found[0] + 1) * width_ns) if len(found) else float(to_ns - from_ns)
