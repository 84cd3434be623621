"""Lost answers, lost load workers, and the attempts that reached replicas."""

from __future__ import annotations

import polars as pl

from harness.metrics.metric import NS_PER_MS
from harness.record.cell_record import LoadWorkerRecord
from harness.record.reader import Cell
from harness.record.tables import table_errors


def lost_answers(cell: Cell, failed: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of `failed` whose answer was lost: a replica finished the request with OK.

    failed: request_id of the requests that did not end with OK for the client.
    Raises UserError that names the cell's folder when a ledger cannot be read.
    """
    ledgers = cell.replica_ledgers().values()
    if not failed.height or not ledgers:
        return failed.clear()
    finished = [ledger.filter(pl.col("code") == "OK").select("request_id") for ledger in ledgers]
    with table_errors(cell.folder, "ledgers written by this lab"):
        return (
            failed.lazy().join(pl.concat(finished), on="request_id", how="semi").collect(engine="streaming")
        )


def attempts_by_interval(cell: Cell, intervals: pl.DataFrame) -> dict[int, int]:
    """Return interval -> rows in the replicas' ledgers for its requests, without intervals that have no row.

    intervals: request_id, interval (a number).
    Raises UserError that names the cell's folder when a ledger cannot be read.
    """
    ledgers = [ledger.select("request_id") for ledger in cell.replica_ledgers().values()]
    if not ledgers:
        return {}
    with table_errors(cell.folder, "ledgers written by this lab"):
        counts = (
            pl.concat(ledgers)
            .join(intervals.lazy(), on="request_id", how="inner")
            .group_by("interval")
            .agg(pl.len().alias("attempts"))
            .collect(engine="streaming")
        )
    return dict(counts.iter_rows())


def lost_workers(cell: Cell) -> tuple[str, ...]:
    """Return one sentence for each load worker that was lost before the cell ended."""
    return tuple(
        _loss_in_words(cell, worker) for worker in cell.record.load_workers if worker.ended == "lost"
    )


def _loss_in_words(cell: Cell, worker: LoadWorkerRecord) -> str:
    start_ns = cell.record.measure_start_ns
    when = "before measuring"
    if start_ns and worker.ended_ns >= start_ns:
        when = f"{(worker.ended_ns - start_ns) / NS_PER_MS / 1000:.1f} s into measuring"
    planned = worker.planned_requests
    missing = (
        "the later requests of its clients are missing"
        if planned is None
        else f"{planned - worker.measured_requests} of its {planned} planned requests are missing"
    )
    return f"load worker {worker.name} was lost {when}: {missing}"
