"""Requests by zones: of the node of the proxy that sent them, and of the replica that answered."""

from __future__ import annotations

import polars as pl

from harness.fields import connection_prefix
from harness.record.cell_record import CellRecord


def requests_by_zones(counts: pl.DataFrame, record: CellRecord) -> dict[tuple[str, str], int] | None:
    """Return (zone of the node, zone of the replica) -> answered requests, of all pairs with any.

    None without zones, or where nobody tells the node: on route envoy-l4 the clients are not told. counts:
    columns connection and replica, as the clients were told, and requests. A connection's number begins with
    that of its node.
    """
    if not record.zones or record.route != "envoy":
        return None
    of_nodes = {connection_prefix(node): record.zones.get(node) for node in record.proxies}
    zoned = counts.select(
        "requests",
        pl.col("connection").str.extract(r"^([0-9]+/)").replace_strict(of_nodes, default=None).alias("of"),
        pl.col("replica").replace_strict(record.zones, default=None).alias("to"),
    ).drop_nulls()
    sums = zoned.group_by("of", "to").agg(pl.col("requests").sum()).sort("of", "to")
    return {(of, to): int(requests) for of, to, requests in sums.iter_rows()}
