"""How long sessions waited for a good answer, whatever they tried meanwhile."""

from __future__ import annotations

import polars as pl


def session_outages_of(rows: pl.DataFrame, window_ns: int) -> pl.DataFrame:
    """at_ns (planned) of every request, and gap_ns: how long its session waited.

    The gap of a request is the time from its planned send to the first good answer (OK) that its session got
    to it or to a later request; where there was none, to the end of the window. A session that goes on
    trying through an outage has its longest gap at the first request that failed.

    rows: client, session, request_id, at_ns, latency_ns, ok; window_ns: the end, as at_ns counts. A client's
    requests are later the greater their id.
    """
    answered_ns = pl.when("ok").then(pl.col("at_ns") + pl.col("latency_ns")).alias("answered_ns")
    # cum_min leaves a null where the row itself has none.
    earliest = pl.col("answered_ns").cum_min(reverse=True).backward_fill().over("client", "session")
    return (
        rows.lazy()
        .select("client", "session", "request_id", "at_ns", answered_ns)
        .sort("request_id")
        .select("at_ns", (earliest.fill_null(window_ns) - pl.col("at_ns")).alias("gap_ns"))
        .collect()
    )


def longest_gap_ns(gaps: pl.DataFrame) -> float | None:
    """The longest of `gap_ns`; None without a row."""
    return float(gaps["gap_ns"].to_numpy().max()) if gaps.height else None
