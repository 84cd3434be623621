"""How long sessions waited for a good answer, whatever they tried meanwhile."""

from __future__ import annotations

import polars as pl

_SESSION = ("client", "session")


def with_gaps(rows: pl.DataFrame, window_ns: int) -> pl.DataFrame:
    """`rows` sorted by client, session and request, with `gap_ns`: how long its session waited.

    The gap of a request is the time from its planned send to the first good answer (OK) that its session got
    to it or to a later request; where there was none, to the end of the window (or 0 where it was planned
    after that). A session that goes on trying through an outage has its longest gap at the first request
    that failed.

    rows: client, session, request_id, at_ns (planned), latency_ns, ok; window_ns: the end, as at_ns counts.
    """
    answered_ns = pl.when("ok").then(pl.col("at_ns") + pl.col("latency_ns"))
    ordered = rows.sort(*_SESSION, "request_id").with_columns(answered_ns.alias("answered_ns"))
    # Backward fill: cum_min leaves a null where the row itself has none.
    earliest = pl.col("answered_ns").cum_min(reverse=True).backward_fill().over(_SESSION)
    until = earliest.fill_null(pl.max_horizontal(pl.lit(window_ns), pl.col("at_ns")))
    return ordered.with_columns((until - pl.col("at_ns")).alias("gap_ns")).drop("answered_ns")


def longest_gap_ns(rows: pl.DataFrame) -> float | None:
    """The longest of `gap_ns`; None without a row."""
    return float(rows["gap_ns"].to_numpy().max()) if rows.height else None
