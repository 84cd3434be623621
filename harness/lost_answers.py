"""Requests that a replica finished and whose client never got the answer; attempts that reached replicas."""

from __future__ import annotations

import polars as pl

from harness.record import Cell
from harness.tables import table_errors


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
