"""The moments of every request of a cell: when it was sent, reached the proxy, waited, was served, answered.

A replay needs all attempts of a request, not only the one that answered; so requests, the stays of their
attempts at replicas, and the messages of streams are tables of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from harness.record.run_directory import Cell
from harness.record.tables import scan_json_lines, table_errors

UNARY = "AddVideo"  # the only call that is no stream


@dataclass(frozen=True)
class Moments:
    """What three ledgers say of some requests. Times are ns from the start of measuring.

    requests: one row a request, by sent_ns: request_id, client, session, method, sent_ns, done_ns, code,
    proxy_ns (when the proxy began with it; null where no ledger says so), toward (index of the replica that
    the client or the proxy names; null where neither does).
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


def moments_of(cell: Cell, from_ns: int = 0, to_ns: int | None = None, *, one_clock: bool = True) -> Moments:
    """Return the moments of the measured requests that were under way between two times.

    from_ns, to_ns: from the start of measuring. A request counts if it was sent before `to_ns` (None: at any
    time) and not over by `from_ns`: its client waited, or a replica worked on it. one_clock: whether the
    replicas' times are on the cell's clock; without that there are no stays. Raises UserError that names the
    cell's folder when a ledger cannot be read.
    """
    with table_errors(cell.folder, "ledgers written by this lab"):
        requests = _measured(cell, to_ns).collect(engine="streaming")
        stays = _stays(cell, requests.select("request_id"), one_clock)
        finished = stays.group_by("request_id").agg(pl.max("finished_ns"))
        over_ns = pl.max_horizontal("done_ns", "finished_ns")
        requests = (
            requests.join(finished, on="request_id", how="left", maintain_order="left")
            .filter(over_ns > from_ns)
            .drop("finished_ns")
        )
        ids = requests.select("request_id")
        return Moments(
            _with_proxy(cell, requests),
            stays.join(ids, on="request_id", how="semi", maintain_order="left"),
            _messages(cell, ids),
        )


def _measured(cell: Cell, to_ns: int | None) -> pl.LazyFrame:
    """Return the requests planned in the measured window and sent before `to_ns`, by sent_ns."""
    record, start_ns = cell.record, cell.record.measure_start_ns
    names = list(record.replicas)
    planned = pl.col("planned_ns").is_between(start_ns, record.measure_end_ns, closed="left")
    sent = pl.lit(True) if to_ns is None else pl.col("sent_ns") < start_ns + to_ns
    toward = _index("replica", names).alias("toward")
    return (
        cell.requests()
        .filter(planned, sent)
        .select("request_id", "client", "session", "method", "sent_ns", "done_ns", "code", toward)
        .with_columns(pl.col("sent_ns", "done_ns") - start_ns)
        .sort("sent_ns", "request_id")
    )


def _index(column: str, names: Sequence[str]) -> pl.Expr:
    """Return the place of a column's value in `names`; null for any other value."""
    places = list(range(len(names)))
    return pl.col(column).replace_strict(names, places, default=None, return_dtype=pl.Int32)


def _stays(cell: Cell, ids: pl.DataFrame, one_clock: bool) -> pl.DataFrame:
    start_ns = cell.record.measure_start_ns
    unary = pl.col("method") == UNARY
    started = pl.col("arrived_ns") + pl.col("queue_ns")
    found = [
        ledger.filter(pl.col("request_id") >= 0).select(
            "request_id",
            pl.lit(number, pl.Int32).alias("replica"),
            pl.col("arrived_ns") - start_ns,
            pl.when(unary).then(started).otherwise("arrived_ns").alias("started_ns") - start_ns,
            pl.when(unary).then(started + pl.col("service_ns")).otherwise("done_ns").alias("finished_ns")
            - start_ns,
        )
        for number, ledger in (_numbered_ledgers(cell) if one_clock else [])
    ]
    if not found:
        times = dict.fromkeys(("arrived_ns", "started_ns", "finished_ns"), pl.Int64)
        return pl.DataFrame(schema={"request_id": pl.Int64, "replica": pl.Int32, **times})
    rows = pl.concat(found).join(ids.lazy(), on="request_id", how="semi")
    return rows.sort("request_id", "arrived_ns").collect(engine="streaming")


def _numbered_ledgers(cell: Cell) -> list[tuple[int, pl.LazyFrame]]:
    ledgers = cell.replica_ledgers()
    return [(number, ledgers[name]) for number, name in enumerate(cell.record.replicas) if name in ledgers]


def _with_proxy(cell: Cell, requests: pl.DataFrame) -> pl.DataFrame:
    """Return the requests with proxy_ns; `toward` is the proxy's word where no answer names a replica."""
    log = cell.folder / "access.jsonl"
    if cell.record.route != "envoy" or not log.exists():
        return requests.with_columns(pl.lit(None, pl.Int64).alias("proxy_ns"))
    # "%s.%9f": without its point, the number of nanoseconds.
    unix_ns = pl.col("start").str.replace(".", "", literal=True).cast(pl.Int64, strict=False)
    origin_ns = cell.record.epoch_unix_ns + cell.record.measure_start_ns
    rows = (
        scan_json_lines(log, {"request_id": str, "start": str, "upstream": str})
        .select(
            pl.col("request_id").cast(pl.Int64, strict=False),
            (unix_ns - origin_ns).alias("proxy_ns"),
            _index("upstream", list(cell.record.replicas.values())).alias("sent_on"),
        )
        .join(requests.lazy().select("request_id"), on="request_id", how="semi")
        # A client's retries are rows of their own.
        .sort("proxy_ns")
        .group_by("request_id")
        .agg(pl.first("proxy_ns"), pl.last("sent_on"))
        .collect(engine="streaming")
    )
    return (
        requests.join(rows, on="request_id", how="left", maintain_order="left")
        .with_columns(pl.coalesce("toward", "sent_on").alias("toward"))
        .drop("sent_on")
    )


def _messages(cell: Cell, ids: pl.DataFrame) -> pl.DataFrame:
    table, start_ns = cell.messages(), cell.record.measure_start_ns
    if table is None:
        return pl.DataFrame(schema=dict.fromkeys(("request_id", "sent_ns", "received_ns"), pl.Int64))
    return (
        table.join(ids.lazy(), on="request_id", how="semi")
        .sort("request_id", "message")
        .select("request_id", pl.col("sent_ns", "received_ns") - start_ns)
        .collect(engine="streaming")
    )
