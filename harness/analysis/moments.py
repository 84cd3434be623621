"""The moments of every request of a cell: when it was sent, reached the proxy, waited, was served, answered.

A replay needs all attempts of a request, not only the one that answered (harness.analysis.ledger_join). So
requests, the stays of their attempts at replicas, and the messages of streams are tables of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from harness.analysis.clocks import CellClocks, clocks_of
from harness.analysis.ledger_join import proxy_rows
from harness.record.run_directory import Cell
from harness.record.tables import table_errors

UNARY = "AddVideo"  # the only call that is no stream

_STAY_COLUMNS = {
    "request_id": pl.Int64,
    "replica": pl.Int32,
    **dict.fromkeys(("arrived_ns", "started_ns", "finished_ns"), pl.Int64),
}


@dataclass(frozen=True)
class Moments:
    """What three ledgers say of some requests. Times are ns from the start of measuring, on the cell's clock.

    requests: one row a request, by sent_ns: request_id, client, session, method, sent_ns, done_ns, code,
    proxy_ns (when the proxy began with it; null where no ledger says so), proxy_node (index in
    CellRecord.proxies of the node that had it, of several attempts the last; null where no ledger names one
    of several), toward (index of the replica that the client or the proxy names; null where neither does).
    stays: one row for each attempt that a replica recorded, by request_id and arrival: request_id, replica
    (index in CellRecord.replicas), arrived_ns, started_ns, finished_ns. A unary call waits from arrived_ns to
    started_ns and holds a slot until finished_ns. A stream is open from arrived_ns to finished_ns; its
    started_ns is arrived_ns, because the ledger has only the sums of its waits.
    messages: one row for each answered message of a stream, by request_id and message: request_id, sent_ns,
    received_ns.
    """

    requests: pl.DataFrame
    stays: pl.DataFrame
    messages: pl.DataFrame


def moments_of(cell: Cell, from_ns: int = 0, to_ns: int | None = None) -> Moments:
    """Return the moments of the measured requests that were under way between two times.

    from_ns, to_ns: from the start of measuring. A request counts if it was sent before `to_ns` (None: at any
    time) and not over by `from_ns`: its client waited, or a replica worked on it. Raises UserError that names
    the cell's folder when a ledger cannot be read.
    """
    clocks = clocks_of(cell)
    with table_errors(cell.folder, "ledgers written by this lab"):
        all_stays = _stays(cell, clocks)
        requests = _measured(cell, to_ns)
        if from_ns > 0:
            late = all_stays.filter(pl.col("finished_ns") > from_ns).select("request_id").unique()
            still = requests.join(late, on="request_id", how="semi").filter(pl.col("done_ns") <= from_ns)
            requests = pl.concat([requests.filter(pl.col("done_ns") > from_ns), still])
        found = requests.sort("sent_ns", "request_id").collect(engine="streaming")
        ids = found.lazy().select("request_id")
        stays = all_stays.join(ids, on="request_id", how="semi").sort("request_id", "arrived_ns")
        # A damaged ledger may lack numbers. What they belong to is left out.
        known = found.drop_nulls([name for name in found.columns if name != "toward"])
        return Moments(
            _with_proxy(cell, clocks, known),
            stays.drop_nulls().collect(engine="streaming"),
            _messages(cell, ids).drop_nulls(),
        )


def _measured(cell: Cell, to_ns: int | None) -> pl.LazyFrame:
    """Return the requests planned in the measured window and sent before `to_ns`."""
    record, start_ns = cell.record, cell.record.measure_start_ns
    planned = pl.col("planned_ns").is_between(start_ns, record.measure_end_ns, closed="left")
    sent = pl.lit(True) if to_ns is None else pl.col("sent_ns") < start_ns + to_ns
    toward = _index("replica", list(record.replicas)).alias("toward")
    return (
        cell.requests()
        .filter(planned, sent)
        .select("request_id", "client", "session", "method", "sent_ns", "done_ns", "code", toward)
        .with_columns(pl.col("sent_ns", "done_ns") - start_ns)
    )


def _index(column: str, names: Sequence[str]) -> pl.Expr:
    """Return the place of a column's value in `names`; null for any other value."""
    places = list(range(len(names)))
    return pl.col(column).replace_strict(names, places, default=None, return_dtype=pl.Int32)


def _stays(cell: Cell, clocks: CellClocks) -> pl.LazyFrame:
    """Return the stays of all requests, also of the warm-up's, in no order."""
    ledger = cell.replica_ledger()
    if ledger is None:
        return pl.LazyFrame(schema=_STAY_COLUMNS)
    start_ns = cell.record.measure_start_ns
    unary = pl.col("method") == UNARY
    arrived = clocks.replica_moment("arrived_ns") - start_ns
    started = arrived + pl.col("queue_ns")
    ended = clocks.replica_moment("done_ns") - start_ns
    return (
        ledger.filter(pl.col("request_id") >= 0)
        .select(
            "request_id",
            arrived.alias("arrived_ns"),
            pl.when(unary).then(started).otherwise(arrived).alias("started_ns"),
            pl.when(unary).then(started + pl.col("service_ns")).otherwise(ended).alias("finished_ns"),
            _index("replica", list(cell.record.replicas)).alias("replica"),
        )
        .select(*_STAY_COLUMNS)
    )


def _with_proxy(cell: Cell, clocks: CellClocks, requests: pl.DataFrame) -> pl.DataFrame:
    """Return the requests with proxy_ns and proxy_node.

    `toward` is the proxy's word where no answer names a replica.
    """
    rows = proxy_rows(cell, clocks)
    if rows is None:
        return requests.with_columns(
            pl.lit(None, pl.Int64).alias("proxy_ns"), pl.lit(None, pl.Int32).alias("proxy_node")
        )
    found = (
        rows.select(
            "request_id",
            pl.col("proxy_ns") - cell.record.measure_start_ns,
            _index("proxy_node", list(cell.record.proxies)),
            _index("proxy_replica", list(cell.record.replicas)).alias("sent_on"),
        )
        .join(requests.lazy().select("request_id"), on="request_id", how="semi")
        # A client's retries are rows of their own.
        .sort("proxy_ns")
        .group_by("request_id")
        .agg(pl.first("proxy_ns"), pl.last("proxy_node", "sent_on"))
        .collect(engine="streaming")
    )
    return (
        requests.join(found, on="request_id", how="left", maintain_order="left")
        .with_columns(pl.coalesce("toward", "sent_on").alias("toward"))
        .drop("sent_on")
    )


def _messages(cell: Cell, ids: pl.LazyFrame) -> pl.DataFrame:
    table, start_ns = cell.messages(), cell.record.measure_start_ns
    if table is None:
        return pl.DataFrame(schema=dict.fromkeys(("request_id", "sent_ns", "received_ns"), pl.Int64))
    return (
        table.join(ids, on="request_id", how="semi")
        .sort("request_id", "message")
        .select("request_id", pl.col("sent_ns", "received_ns") - start_ns)
        .collect(engine="streaming")
    )
