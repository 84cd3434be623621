"""Streams of one cell: how many, whether each stayed on one replica, how long its messages took."""

from __future__ import annotations

import polars as pl

from harness.analysis.percentiles import percentiles
from harness.metrics.facts import Streams


def streams_of(messages: pl.LazyFrame | None, measured: pl.DataFrame) -> Streams:
    """The streams among the `measured` requests (column request_id). messages: lb.rows.MESSAGE_COLUMNS."""
    if messages is None:
        return Streams()
    rows = (
        messages.join(measured.lazy().select("request_id"), on="request_id", how="semi")
        .select("request_id", "replica", (pl.col("received_ns") - pl.col("planned_ns")).alias("latency_ns"))
        .collect(engine="streaming")
    )
    one_replica = (pl.col("replica") == pl.col("replica").first()).all()
    streams = rows.group_by("request_id").agg(one_replica.alias("pure"))
    return Streams(streams.height, int(streams["pure"].sum()), percentiles(rows["latency_ns"]))
