"""Joins the three ledgers of a cell into one row a request, on one clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from harness.analysis.clocks import CellClocks
from harness.fields import node_number
from harness.metrics.stages import Cut
from harness.record.access_log import NODE
from harness.record.run_directory import Cell

# What the client says of the answering replica's row. Here the names without `told_` are the replica's own.
TOLD = ("queue_ns", "service_ns", "in_flight", "messages")

# What is added to the number of a connection for each node before its own: more than a node ever has.
CONNECTIONS_OF_NODE = 1_000_000

_PROXY = ("proxy_ns", "proxied_ns", "proxy_code", "proxy_http", "proxy_flags", "proxy_details")
_PROXY_LAST = (*_PROXY, "proxy_node", "proxy_replica", "proxy_connection", "proxy_method")
_REPLICA_LAST = ("arrived_ns", "finished_ns", *TOLD, "peer", "replica_code", "answered_by", "replica_method")


def cut_of(cell: Cell, clocks: CellClocks) -> Cut | None:
    """Return by whose ledgers a cell's stages can be cut; None: the replicas' ledgers cannot be read.

    Somebody may have removed the proxy's ledger after the run.
    """
    if "replica" in cell.record.missing_ledgers:
        return None
    proxied = clocks.proxy_offset_ns is not None and cell.proxy_ledger() is not None
    return "proxy" if proxied and "envoy" not in cell.record.missing_ledgers else "replicas"


def join_ledgers(cell: Cell, clocks: CellClocks, *, side_by_side: bool) -> pl.LazyFrame:
    """Return one row per request of the clients' ledger, with what the other two ledgers have of it.

    side_by_side: see stand_side_by_side, of this cell.
    Columns: those of lb.rows.REQUEST_COLUMNS, where TOLD are renamed to told_*;
    proxy_rows (0: the proxy does not have it), proxy_attempts (of all rows), _PROXY_LAST (of its last row),
    first_proxy_ns; replica_rows, _REPLICA_LAST (of the last attempt at the replica that answered; without an
    answer, of the last one), first_arrived_ns; of the attempts that arrived before it: earlier_ended_ns,
    earlier_codes. A moment of a party that does not have the request is
    null. All moments are on the cell's clock.
    """
    record = cell.record
    joined = cell.requests().rename({name: f"told_{name}" for name in TOLD})
    once = record.max_attempts == 1
    found = [
        (_replica_side(cell, clocks, once=once), _OF_REPLICA),
        (_proxy_side(cell, clocks, once=once), _OF_PROXY),
    ]
    sides = [side for side, _ in found if side is not None]
    if side_by_side:
        # A join would copy every column.
        joined = pl.concat([joined, *(side.drop("request_id") for side in sides)], how="horizontal")
    else:
        for side in sides:
            joined = joined.join(side, on="request_id", how="left")
    for schema in (schema for side, schema in found if side is None):
        joined = joined.with_columns(pl.lit(None, kind).alias(name) for name, kind in schema.items())
    return joined.with_columns(
        pl.col("proxy_rows", "proxy_attempts", "replica_rows").fill_null(0),
        pl.col("planned_ns")
        .is_between(record.measure_start_ns, record.measure_end_ns, closed="left")
        .alias("in_window"),
        _zone(cell, "proxy_node").alias("proxy_zone"),
        _zone(cell, "replica").alias("replica_zone"),
    )


def _zone(cell: Cell, part: str) -> pl.Expr:
    if not cell.record.zones:
        return pl.lit(None, pl.String)
    return pl.col(part).replace_strict(cell.record.zones, default=None, return_dtype=pl.String)


def stand_side_by_side(cell: Cell) -> bool:
    """Return whether each row of one ledger has its rows of the others in the same place.

    Then no request was tried again, and proxy and replicas have exactly the client's requests, each once, by
    rising ids. Other routes than `envoy` have no proxy with a ledger of requests.
    """
    if cell.record.max_attempts > 1:
        return False
    ledgers, proxy = [cell.requests(), cell.replica_ledger()], cell.proxy_ledger()
    if cell.record.route == "envoy" or proxy is not None:
        ledgers.append(proxy)
    mine, *others = (
        None if ledger is None else ledger.select("request_id").filter(pl.col("request_id") >= 0)
        for ledger in ledgers
    )
    assert mine is not None
    ids = mine.collect(engine="streaming")
    if not ids.select((pl.col("request_id").diff() > 0).all()).item():
        return False
    return all(other is not None and ids.equals(other.collect(engine="streaming")) for other in others)


def _replica_side(cell: Cell, clocks: CellClocks, *, once: bool) -> pl.LazyFrame | None:
    ledger = cell.replica_ledger()
    columns = [
        pl.col("request_id"),
        clocks.replica_moment("arrived_ns").alias("arrived_ns"),
        clocks.replica_moment("done_ns").alias("finished_ns"),
        *TOLD,
        pl.col("peer"),
        pl.col("code").alias("replica_code"),
        pl.col("replica").alias("answered_by"),
        pl.col("method").alias("replica_method"),
    ]
    if ledger is None:
        return None
    rows = ledger.filter(pl.col("request_id") >= 0).select(columns)
    if once:
        return rows.with_columns(
            _one("replica_rows"),
            pl.col("arrived_ns").alias("first_arrived_ns"),
            pl.lit(None, pl.Int64).alias("earlier_ended_ns"),
            pl.lit(None, pl.List(pl.String)).alias("earlier_codes"),
        )
    # Hedged attempts are under way together: the one that answered need not be the last.
    answering = cell.requests().select("request_id", pl.col("replica").alias("_answering"))
    order = [pl.col("answered_by") == pl.col("_answering"), "arrived_ns"]
    arrived_ns = pl.col("arrived_ns").sort_by(order).last()
    before = pl.col("arrived_ns") < arrived_ns
    ended_ns = pl.min_horizontal("finished_ns", arrived_ns)
    return (
        rows.join(answering, on="request_id", how="left")
        .group_by("request_id")
        .agg(
            pl.col(*_REPLICA_LAST).sort_by(order).last(),
            pl.col("arrived_ns").min().alias("first_arrived_ns"),
            pl.len().cast(pl.Int64).alias("replica_rows"),
            ended_ns.filter(before).max().alias("earlier_ended_ns"),
            pl.col("replica_code")
            .sort_by("arrived_ns")
            .filter(before.sort_by("arrived_ns"))
            .alias("earlier_codes"),
        )
    )


def proxy_rows(cell: Cell, clocks: CellClocks) -> pl.LazyFrame | None:
    """Return the proxy's rows of the lab's requests, on the cell's clock; None without such a ledger."""
    ledger = cell.proxy_ledger()
    if ledger is None:
        return None
    names = cell.proxy_targets
    started = pl.col("start_unix_ns") + pl.lit(clocks.proxy_offset_ns, pl.Int64)
    # Without its exact length, a request ended within the millisecond after.
    lasted = pl.coalesce(pl.col("duration_us") * 1000, pl.col("duration_ms").cast(pl.Int64) * 1_000_000)
    return ledger.filter(pl.col("request_id") >= 0).select(
        pl.col("request_id"),
        started.alias("proxy_ns"),
        (started + lasted).alias("proxied_ns"),
        pl.col("grpc").alias("proxy_code"),
        pl.col("http").alias("proxy_http"),
        pl.col("flags").alias("proxy_flags"),
        pl.col("details").alias("proxy_details"),
        pl.col("upstream").replace_strict(names, default=None, return_dtype=pl.String).alias("proxy_replica"),
        _node(cell).alias("proxy_node"),
        _connection(cell).alias("proxy_connection"),
        pl.col("path").str.split("/").list.last().alias("proxy_method"),
        pl.col("attempts").cast(pl.Int64).alias("proxy_attempts"),
    )


def _node(cell: Cell) -> pl.Expr:
    return pl.col(NODE) if cell.record.proxies else pl.lit(None, pl.String)


def _connection(cell: Cell) -> pl.Expr:
    """Return the number of the connection. Each node of a proxy counts its own from the beginning."""
    number = pl.col("connection")
    if not cell.record.proxies:
        return number
    firsts = {node: CONNECTIONS_OF_NODE * node_number(node) for node in cell.record.proxies}
    return number + pl.col(NODE).replace_strict(firsts, default=None, return_dtype=pl.Int32)


def _proxy_side(cell: Cell, clocks: CellClocks, *, once: bool) -> pl.LazyFrame | None:
    rows = proxy_rows(cell, clocks)
    if rows is None:
        return None
    if once:
        return rows.with_columns(_one("proxy_rows"), pl.col("proxy_ns").alias("first_proxy_ns"))
    return rows.group_by("request_id").agg(
        pl.col(*_PROXY_LAST).sort_by("proxy_ns").last(),
        pl.col("proxy_ns").min().alias("first_proxy_ns"),
        pl.col("proxy_attempts").sum(),
        pl.len().cast(pl.Int64).alias("proxy_rows"),
    )


def _one(name: str) -> pl.Expr:
    return pl.lit(1, pl.Int64).alias(name)


_OF_REPLICA: Mapping[str, Any] = {
    "arrived_ns": pl.Int64,
    "finished_ns": pl.Int64,
    "queue_ns": pl.Int64,
    "service_ns": pl.Int64,
    "in_flight": pl.Int32,
    "messages": pl.Int32,
    "peer": pl.String,
    "replica_code": pl.String,
    "answered_by": pl.String,
    "replica_method": pl.String,
    "replica_rows": pl.Int64,
    "first_arrived_ns": pl.Int64,
    "earlier_ended_ns": pl.Int64,
    "earlier_codes": pl.List(pl.String),
}
_OF_PROXY: Mapping[str, Any] = {
    "proxy_ns": pl.Int64,
    "proxied_ns": pl.Int64,
    "proxy_code": pl.String,
    "proxy_http": pl.Int32,
    "proxy_flags": pl.String,
    "proxy_details": pl.String,
    "proxy_node": pl.String,
    "proxy_replica": pl.String,
    "proxy_connection": pl.Int32,
    "proxy_method": pl.String,
    "proxy_attempts": pl.Int64,
    "proxy_rows": pl.Int64,
    "first_proxy_ns": pl.Int64,
}
