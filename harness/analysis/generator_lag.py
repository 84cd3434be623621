"""How late clients sent that wait for each answer: they are late on purpose, and only the rest is theirs."""

from __future__ import annotations

import polars as pl


def lag_after_answers(requests: pl.LazyFrame, start_ns: int, end_ns: int) -> pl.Series:
    """sent - max(planned, end of the client's requests before it), ns, of the requests planned in the window.

    requests: lb.rows.REQUEST_COLUMNS, of which those before the window count as requests before.
    """
    before = pl.col("done_ns").cum_max().shift().over("client")
    lag = pl.col("sent_ns") - pl.max_horizontal("planned_ns", before)
    return (
        requests.select("client", "request_id", "planned_ns", "sent_ns", "done_ns")
        .sort("client", "request_id")
        .with_columns(lag.alias("lag_ns"))
        .filter(pl.col("planned_ns").is_between(start_ns, end_ns, closed="left"))
        .select("lag_ns")
        .collect()["lag_ns"]
    )
