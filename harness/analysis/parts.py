"""Cuts a large cell into parts of few requests, whose ledgers are joined one part after the other.

The memory that a join takes grows with its rows; and where its rows do not fit into the processor's caches,
each of them takes longer. Ledgers lie on disk in the order of their requests, so a part is read without the
rest. In a run of an earlier version they do not. Then each part reads the whole ledgers, which takes longer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from harness.record.run_directory import Cell
from harness.record.tables import table_errors

MAX_REQUESTS = 500_000  # of a part
_LEAST_ID, _MOST_ID = -(2**63), 2**63 - 1


@dataclass(frozen=True)
class CellPart(Cell):
    """The rows of a cell whose request ids lie between two ids, both included.

    Rows without a request id are in no part.
    """

    first_id: int = _LEAST_ID
    last_id: int = _MOST_ID

    def requests(self) -> pl.LazyFrame:
        """Return the part's rows of the clients' ledger."""
        return super().requests().filter(self._is_inside)

    def replica_ledger(self) -> pl.LazyFrame | None:
        """Return the part's rows of the replicas' ledger; None where there is none."""
        ledger = super().replica_ledger()
        return None if ledger is None else ledger.filter(self._is_inside)

    def proxy_ledger(self) -> pl.LazyFrame | None:
        """Return the part's rows of the proxy's ledger; None where there is none."""
        ledger = super().proxy_ledger()
        return None if ledger is None else ledger.filter(self._is_inside)

    @property
    def _is_inside(self) -> pl.Expr:
        return pl.col("request_id").is_between(self.first_id, self.last_id)


def parts_of(cell: Cell, max_requests: int = MAX_REQUESTS) -> Sequence[Cell]:
    """Return the parts of a cell in the order of their ids: the cell itself where it has few requests.

    Each has about `max_requests` requests of the clients' ledger; every request id is in one part. Raises
    UserError naming the cell's folder when that ledger cannot be read.
    """
    with table_errors(cell.folder, "request rows written by this lab"):
        count = cell.requests().select(pl.len()).collect().item()
        if count <= max_requests:
            return [cell]
        edges = cell.requests().select(pl.col("request_id").sort().gather_every(max_requests)).collect()
    firsts = [_LEAST_ID, *edges["request_id"].unique(maintain_order=True)[1:]]
    lasts = [first - 1 for first in firsts[1:]] + [_MOST_ID]
    return [
        CellPart(**vars(cell), first_id=first, last_id=last)
        for first, last in zip(firsts, lasts, strict=True)
    ]


def collect_parts(parts: Iterable[pl.LazyFrame], whole: Collection[str]) -> pl.DataFrame:
    """Return the rows of all parts, which are collected one after the other.

    Each number has as few bytes as the largest one in its column needs, but for the columns `whole`. Most
    durations are shorter than two seconds and fit 32 bits; some stages are always 0. Each column of a part is
    in one piece: many pieces would be copied all together when they are read.
    """

    def narrowed(part: pl.LazyFrame) -> pl.DataFrame:
        columns = part.collect(engine="streaming").rechunk().get_columns()
        return pl.DataFrame([column if column.name in whole else column.shrink_dtype() for column in columns])

    return pl.concat((narrowed(part) for part in parts), how="vertical_relaxed")
