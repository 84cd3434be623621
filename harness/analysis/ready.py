"""When a request could be sent at the earliest: its planned time, or the end of a wait that is meant."""

from __future__ import annotations

import polars as pl


def with_ready(requests: pl.LazyFrame, *, awaits_answers: bool) -> pl.LazyFrame:
    """Return `requests` (lb.rows.REQUEST_COLUMNS) with the column `ready_ns`.

    A client waits on purpose for the answer to its session's first request. With `await_each_answer`
    (`awaits_answers`) it waits for the end of its request before. What it sends after the end of such a wait
    is late from then on, not from the planned time. The order of rows may change.
    """
    if awaits_answers:
        # The request before is the one that ended last, also from before the measured window.
        before = pl.col("done_ns").cum_max().shift().over("client")
        ready = pl.max_horizontal("planned_ns", before)
        return requests.sort("client", "request_id").with_columns(ready.alias("ready_ns"))
    opened = requests.group_by("client", "session").agg(
        pl.col("done_ns").sort_by("request_id").first().alias("_opened_ns")
    )
    waited = (pl.col("planned_ns") < pl.col("_opened_ns")) & (pl.col("sent_ns") >= pl.col("_opened_ns"))
    ready = pl.when(waited).then("_opened_ns").otherwise("planned_ns")
    return (
        requests.join(opened, on=["client", "session"], how="left")
        .with_columns(ready.alias("ready_ns"))
        .drop("_opened_ns")
    )
