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
import numpy.typing as npt
import polars as pl

from harness.spec.arm import MAX_STREAMS

_MOST = 2**63 - 1


def stream_free(requests: pl.DataFrame, limit: int = MAX_STREAMS) -> pl.DataFrame:
    """Return request_id, free_ns: the last end of a request on its full connection before the proxy had it.

    requests: request_id, connection, proxy_ns, proxied_ns of the proxy's rows. Requests without such an end
    are left out, and so are those whose connection the proxy's ledger does not tell. A request with several
    rows has the one of its first.
    """
    requests = requests.filter(pl.col("connection").is_not_null())
    crowded = requests.filter(pl.col("connection").is_in(_full_connections(requests, limit).tolist()))
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


def _full_connections(requests: pl.DataFrame, limit: int) -> npt.NDArray[np.int64]:
    """Return the connections that had `limit` requests at once.

    The k-th start of a connection (from 0) makes it `limit` requests at once if end number k - limit + 1
    comes later. Numbers made of connection and moment sort all connections at once: an end and a start of
    two connections are then in the order of the connections. An unknown start counts as earlier than all,
    an unknown end as later.
    """
    connection = requests["connection"].to_numpy().astype(np.int64)
    if len(connection) < limit:
        return connection[:0]
    both = ("proxy_ns", "proxied_ns")
    first, last = requests.select(
        pl.min_horizontal(pl.min(*both)).fill_null(0),
        pl.max_horizontal(pl.max(*both)).fill_null(0).alias("last"),
    ).row(0)
    if (int(connection.max()) + 1) * (last - first + 1) > _MOST:
        return np.unique(connection)
    least = connection * (last - first + 1)
    begun = np.sort(least + requests["proxy_ns"].fill_null(first).to_numpy() - first)
    ended = np.sort(least + requests["proxied_ns"].fill_null(last).to_numpy() - first)
    crowded = ended[: len(ended) - limit + 1] > begun[limit - 1 :]
    found: npt.NDArray[np.int64] = np.unique(begun[limit - 1 :][crowded] // (last - first + 1))
    return found
