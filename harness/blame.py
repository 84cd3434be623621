"""Which event a failed request is put down to."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

# What ends calls that are under way. All other events concern calls that come after them.
BREAKS = ("kill", "stop", "pause", "drain", "roll", "partition", "proxy_restart", "proxy_drain")


def failures(rows: pl.DataFrame, doings: Sequence[str], asked_ns: Sequence[int]) -> pl.DataFrame:
    """The failed ones of `rows` (part, ok, at_ns, latency_ns), `part` being that of the event to blame.

    That is the event after which the request was planned (its part already), or a later one of BREAKS that
    was asked for before the request ended: a kill fails the calls that are under way. doings, asked_ns: of
    the events, by time, in nanoseconds as at_ns.
    """
    failed = rows.filter(~pl.col("ok"))
    ended = pl.col("at_ns") + pl.col("latency_ns")
    part = pl.col("part")
    for place, (do, at_ns) in enumerate(zip(doings, asked_ns, strict=True)):
        if do in BREAKS:
            under_way = (pl.col("at_ns") < at_ns) & (ended >= at_ns)
            part = pl.when(under_way).then(pl.lit(place + 1, pl.Int64)).otherwise(part)
    return failed.with_columns(part.alias("part"))
