"""What an event did to sessions that were on one replica: who moved, who had to, who came back."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

# What takes its targets away from sessions, and what brings replicas to them. A replica that fails or is
# slow is still there.
TAKES = ("kill", "stop", "pause", "not_serving", "drain", "remove", "roll")
BRINGS = ("start", "resume", "serving", "add")

_SESSION = ("client", "session")
_LEAST_ANSWERS = 2


@dataclass(frozen=True)
class Moves:
    """Sessions, by what an event did to them.

    pinned: with two answers or more from when the event before had taken effect (for the first: from the
    start of measuring) until this one was asked for, all from one replica.
    moved: pinned ones whose last answer of the interval came from another replica.
    needed: pinned ones that could not stay, or had a reason to go: their replica was a target that was taken
    away, or their last answer came from another replica that the event brought.
    returned_share: of the sessions that had been pinned to a target before the last event that took it
    away, and that have an answer in the interval, the share whose last one is from that target. None where
    there is no such session, or the event brings nothing back.
    """

    pinned: int = 0
    moved: int = 0
    needed: int = 0
    returned_share: float | None = None


def pinned_sessions(answered: pl.DataFrame, since_ns: int, until_ns: int) -> pl.DataFrame:
    """client, session, replica of the sessions with two answers or more planned then, all from one replica.

    answered: client, session, request_id, replica (number), at_ns.
    """
    before = answered.filter(pl.col("at_ns").is_between(since_ns, until_ns, closed="left"))
    each = before.group_by(_SESSION).agg(
        pl.len().alias("answers"),
        pl.col("replica").min(),
        pl.col("replica").max().alias("other"),
    )
    settled = each.filter(pl.col("answers") >= _LEAST_ANSWERS, pl.col("replica") == pl.col("other"))
    return settled.select(*_SESSION, "replica")


def last_answers(answered: pl.DataFrame) -> pl.DataFrame:
    """client, session, last: the replica that gave each session's last answer among `answered`."""
    latest = pl.col("replica").get(pl.col("request_id").arg_max()).alias("last")
    return answered.group_by(_SESSION).agg(latest)


def count_moves(
    do: str, targets: Collection[int], pinned: pl.DataFrame, lost: pl.DataFrame, last: pl.DataFrame
) -> Moves:
    """What the event `do` on `targets` (numbers of replicas) did to sessions.

    pinned: before the event. lost: the same before targets that it brings back were taken away, those
    sessions only that were on them. last: each session's last answer of the interval.
    """
    sessions = pinned.join(last, on=_SESSION, how="left")
    on_target = pl.col("replica").is_in(targets)
    moved = (pl.col("last") != pl.col("replica")).fill_null(value=False)
    needed = pl.lit(value=False)
    if do in TAKES:
        needed = on_target
    elif do in BRINGS:
        needed = moved & pl.col("last").is_in(targets).fill_null(value=False)
    counts = sessions.select(
        pl.len().alias("pinned"), moved.sum().alias("moved"), needed.sum().alias("needed")
    )
    seen = lost.join(last, on=_SESSION, how="inner")
    back = seen.select((pl.col("last") == pl.col("replica")).mean()).item() if seen.height else None
    return Moves(**counts.row(0, named=True), returned_share=back)
