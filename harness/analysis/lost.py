"""Requests that a replica finished and whose client never got the answer; attempts that reached replicas."""

from __future__ import annotations

import polars as pl

from harness.metrics.metric import NS_PER_MS
from harness.record.cell_record import LoadWorkerRecord
from harness.record.reader import Cell
from harness.record.tables import table_errors


def lost_answers(cell: Cell, failed: pl.DataFrame) -> pl.DataFrame:
    """Those rows of `failed` (column request_id; no OK for the client) that a replica finished with OK.

    Raises UserError naming the cell's folder when a ledger cannot be read.
    """
    ledgers = cell.replica_ledgers().values()
    if not failed.height or not ledgers:
        return failed.clear()
    finished = [ledger.filter(pl.col("code") == "OK").select("request_id") for ledger in ledgers]
    with table_errors(cell.folder, "ledgers written by this lab"):
        return (
            failed.lazy().join(pl.concat(finished), on="request_id", how="semi").collect(engine="streaming")
        )


def attempts_by_part(cell: Cell, parts: pl.DataFrame) -> dict[int, int]:
    """Part -> rows of the replicas for its requests; a part without rows is left out.

    parts: request_id, part (a number). Raises as above.
    """
    ledgers = [ledger.select("request_id") for ledger in cell.replica_ledgers().values()]
    if not ledgers:
        return {}
    with table_errors(cell.folder, "ledgers written by this lab"):
        counts = (
            pl.concat(ledgers)
            .join(parts.lazy(), on="request_id", how="inner")
            .group_by("part")
            .agg(pl.len().alias("attempts"))
            .collect(engine="streaming")
        )
    return dict(counts.iter_rows())


def lost_workers(cell: Cell) -> tuple[str, ...]:
    """A sentence for each load worker that did not play to its end."""
    return tuple(_loss(cell, worker) for worker in cell.record.load_workers if worker.ended == "lost")


def _loss(cell: Cell, worker: LoadWorkerRecord) -> str:
    start_ns = cell.record.measure_start_ns
    when = "before measuring"
    if start_ns and worker.ended_ns >= start_ns:
        when = f"{(worker.ended_ns - start_ns) / NS_PER_MS / 1000:.1f} s into measuring"
    planned = worker.planned_requests
    missing = (
        "what its clients sent from then on is missing"
        if planned is None
        else f"{planned - worker.measured_requests} of its {planned} planned requests are missing"
    )
    return f"load worker {worker.name} was lost {when}: {missing}"
