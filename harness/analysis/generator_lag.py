"""The lag of the load generator for clients that wait for each answer before they send again."""

from __future__ import annotations

import polars as pl


def lag_after_answers(requests: pl.LazyFrame, start_ns: int, end_ns: int) -> pl.Series:
    """Return the lag (ns) of the requests planned in the window: sent - max(planned, end of the request
    before).

    Such a client sends late on purpose while it waits. Only the rest of the delay is the generator's.
    The request before is the latest-ending earlier request of the client, also from before the window.
    requests: lb.rows.REQUEST_COLUMNS.
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
