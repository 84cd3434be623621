"""Requests that crossed zones: a node of the proxy sent them to a replica of another zone."""

from __future__ import annotations

import polars as pl

from harness.fields import connection_prefix
from harness.record.cell_record import CellRecord


def crossed_requests(counts: pl.DataFrame, record: CellRecord) -> int | None:
    """Return how many answered requests crossed zones; None without zones, or where nobody tells the node.

    counts: columns connection and replica, as the clients were told, and requests. A connection's number
    begins with that of its node. On route envoy-l4 the clients are not told.
    """
    if not record.zones or record.route != "envoy":
        return None
    of_nodes = {connection_prefix(node): record.zones.get(node) for node in record.proxies}
    crossed = counts.select(
        "requests",
        pl.col("connection").str.extract(r"^([0-9]+/)").replace_strict(of_nodes, default=None).alias("of"),
        pl.col("replica").replace_strict(record.zones, default=None).alias("to"),
    )
    return int(crossed.filter(pl.col("of") != pl.col("to"))["requests"].sum())
