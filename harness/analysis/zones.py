"""Which node of the proxy had a request, and which zones it and the replica are in."""

from __future__ import annotations

import polars as pl

from harness.fields import connection_prefix
from harness.record.cell_record import CellRecord


def nodes_told(record: CellRecord) -> list[str]:
    """Return the nodes of the proxy, where clients are told which of several had a request; else []."""
    return list(record.proxies) if record.route == "envoy" else []


def node_index(record: CellRecord) -> pl.Expr:
    """Return the node that had a request, as its index in `nodes_told`, or null.

    By the column connection, as the client was told: its number begins with that of the node.
    """
    indexes = {connection_prefix(node): index for index, node in enumerate(nodes_told(record))}
    prefix = pl.col("connection").str.extract(r"^([0-9]+/)")
    return prefix.replace_strict(indexes, default=None, return_dtype=pl.UInt8)


def requests_by_zones(counts: pl.DataFrame, record: CellRecord) -> dict[tuple[str, str], int] | None:
    """Return (zone of the node, zone of the replica) -> answered requests, of all pairs with any.

    None without zones, or where the nodes are not told. counts: columns connection and replica, as the
    clients were told, and requests.
    """
    nodes = nodes_told(record)
    if not record.zones or not nodes:
        return None
    of_nodes = {index: record.zones.get(node) for index, node in enumerate(nodes)}
    zoned = counts.select(
        "requests",
        node_index(record).replace_strict(of_nodes, default=None, return_dtype=pl.String).alias("of"),
        pl.col("replica").replace_strict(record.zones, default=None).alias("to"),
    ).drop_nulls()
    sums = zoned.group_by("of", "to").agg(pl.col("requests").sum()).sort("of", "to")
    return {(of, to): int(requests) for of, to, requests in sums.iter_rows()}
