"""The attempts that replicas saw of a cell's requests, with what each of them waited, from their ledgers.

The clients' ledger has one row per request: the answer that counted. A request that was tried again has
more attempts, and a request that the client gave up has an attempt without an answer. Both held a place in a
queue. Figures of queues that leave them out show only the survivors.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from harness.record.run_directory import Cell
from harness.record.tables import table_errors


def attempts_of(
    cell: Cell, rows: pl.DataFrame, answered: pl.DataFrame, names: Sequence[str]
) -> pl.DataFrame | None:
    """Return one row per attempt that a replica saw: replica, at_ns, queue_ns, in_flight.

    rows: the requests whose attempts are wanted: request_id, at_ns, ok. answered: those of them that name a
    replica, with what the answer says: replica (index in `names`), at_ns, queue_ns, in_flight.
    at_ns of an attempt is that of its request. queue_ns: time in the queue, until the attempt got a slot or
    was given up. in_flight: attempts inside the replica when this one arrived, this one included.
    None if the lab cannot read the replicas' ledgers. The last rows of a replica that was killed are missing.
    Raises UserError that names the cell's folder when a ledger is damaged.
    """
    ledger = None if "replica" in cell.record.missing_ledgers else cell.replica_ledger()
    if ledger is None:
        return None
    if cell.record.max_attempts == 1 and rows["ok"].all():
        # Each request is one attempt, and its answer says what the replica's row says. For ten million of
        # them that saves several seconds.
        return answered.select("replica", "at_ns", "queue_ns", "in_flight")
    wanted = rows.lazy().select("request_id", "at_ns")
    number = pl.col("replica").replace_strict(list(names), list(range(len(names))), return_dtype=pl.UInt16)
    with table_errors(cell.folder, "ledgers written by this lab"):
        return (
            ledger.select("request_id", number, "queue_ns", "in_flight")
            .join(wanted, on="request_id", how="inner")
            .select("replica", "at_ns", "queue_ns", "in_flight")
            .collect(engine="streaming")
        )


def wasted_share_of(cell: Cell, rows: pl.DataFrame) -> float | None:
    """Return the share of the replicas' work that nobody got an answer of: 0 to 1.

    The work is the time in slots of the attempts of some requests. It is wasted if the attempt did not end
    with OK, or its request did not. rows: these requests: request_id, ok. None if the lab cannot read the
    replicas' ledgers, or the replicas did not work. Raises UserError as attempts_of.
    """
    ledger = None if "replica" in cell.record.missing_ledgers else cell.replica_ledger()
    if ledger is None or rows.is_empty():
        return None
    if cell.record.max_attempts == 1 and rows["ok"].all():
        return 0.0
    useful = (pl.col("code") == "OK") & pl.col("ok")
    with table_errors(cell.folder, "ledgers written by this lab"):
        worked_ns, useful_ns = (
            ledger.select("request_id", "service_ns", "code")
            .join(rows.lazy().select("request_id", "ok"), on="request_id", how="inner")
            .select(pl.col("service_ns").sum(), pl.col("service_ns").filter(useful).sum().alias("useful_ns"))
            .collect(engine="streaming")
            .row(0)
        )
    return None if not worked_ns else 1 - useful_ns / worked_ns
