"""Finds the requests that waited for a free stream on their client's connection to the proxy.

An HTTP/2 connection to the proxy carries MAX_STREAMS requests at once. gRPC's client keeps further ones back,
first come first served, after their send is recorded. No ledger has that queue. It follows from the proxy's
own: a connection was full while the proxy had MAX_STREAMS of its requests. A request that reached the proxy
after one of them ended, and was sent before that end, had waited for the stream.

What cannot be told: a request that was given up while it waited never reached the proxy, and its connection
is not known. The time that the end of a stream takes to the client, and the next request back to the proxy,
counts as the way to the proxy.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from harness.spec.arm import MAX_STREAMS

BUCKET_NS = 50_000_000
_LEAST, _MOST = -(2**63), 2**63 - 1


def stream_free(requests: pl.DataFrame, limit: int = MAX_STREAMS) -> pl.DataFrame:
    """Return request_id, free_ns: the last end of a request on its full connection before the proxy had it.

    requests: request_id, connection, proxy_ns, proxied_ns of the proxy's rows. Requests without such an end
    are left out, and so are those whose connection the proxy's ledger does not tell. A request with several
    rows has the one of its first.
    """
    requests = requests.filter(pl.col("connection").is_not_null())
    crowded = requests.clear()
    if _has_at_once(requests, limit):
        crowded = requests.join(_may_be_full(requests, limit), on="connection", how="semi")
    if crowded.is_empty():
        return pl.DataFrame(schema={"request_id": pl.Int64, "free_ns": pl.Int64})
    starts = crowded.select("connection", "request_id", pl.col("proxy_ns").alias("at_ns"), step=pl.lit(1))
    ends = crowded.select(
        "connection",
        pl.lit(None, pl.Int64).alias("request_id"),
        pl.col("proxied_ns").alias("at_ns"),
        step=pl.lit(-1),
    )
    # At the same instant an end comes first: its stream is free for the start.
    events = pl.concat([starts, ends]).sort("connection", "at_ns", "step")
    open_before = pl.col("step").cum_sum().over("connection") - pl.col("step")
    freed = pl.when(pl.col("step") == -1, open_before >= limit).then("at_ns")
    return (
        events.with_columns(freed.alias("free_ns"))
        .with_columns(pl.col("free_ns").forward_fill().over("connection"))
        .filter(pl.col("step") == 1, pl.col("free_ns").is_not_null())
        .unique("request_id", keep="first", maintain_order=True)
        .select("request_id", "free_ns")
    )


def _has_at_once(requests: pl.DataFrame, count: int) -> bool:
    """Return whether the proxy had `count` requests at once, over all connections together.

    Most cells never have so many. There are `count` at the k-th start (from 1) if fewer than k - count + 1
    requests had ended by then. An unknown start counts as earlier than all, an unknown end as later.
    """
    starts = np.sort(requests["proxy_ns"].fill_null(_LEAST).to_numpy())
    ends = np.sort(requests["proxied_ns"].fill_null(_MOST).to_numpy())
    return bool((ends[: max(0, len(ends) - count + 1)] > starts[count - 1 :]).any())


def _may_be_full(requests: pl.DataFrame, limit: int) -> pl.DataFrame:
    """Return the connections that may have had `limit` requests at once, without sorting all requests.

    In no bucket of time had a connection more requests at once than were open at its start or began in it.
    """
    steps = [
        requests.select(
            "connection", (pl.col(moment) // BUCKET_NS).alias("bucket"), began=began, ended=1 - began
        )
        for moment, began in (("proxy_ns", 1), ("proxied_ns", 0))
    ]
    counts = pl.concat(steps).group_by("connection", "bucket").agg(pl.col("began", "ended").sum())
    open_before = (pl.col("began") - pl.col("ended")).cum_sum().shift(fill_value=0).over("connection")
    most = counts.sort("connection", "bucket").with_columns((open_before + pl.col("began")).alias("most"))
    return most.filter(pl.col("most") >= limit).select("connection").unique()
