"""Puts the ledgers of one cell on one clock, and says how exact that is.

Clients and replicas on this machine count nanoseconds from the cell's start on one monotonic clock. Envoy's
ledger has the wall clock's times. Load workers on other machines have allowed for their clock's offset, with
an uncertainty. Replicas that the lab did not start count from starts of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from harness.record.run_directory import Cell
from harness.record.tables import table_errors

# Within this, two moments of one clock, or of Envoy's and another, may seem to be in the wrong order. In real
# runs the smallest distance between the send and Envoy's start was 0.07 ms, never less.
SAME_CLOCK_NS = 100_000
PROXY_CLOCK_NS = 1_000_000
# With a wall clock that moved further than this, Envoy's times are of no use.
MAX_MOVED_NS = 20_000_000


@dataclass(frozen=True)
class ReplicaClock:
    """What to add to a replica's times, and how exact that is. impossible: nothing fits all rows."""

    offset_ns: int
    uncertainty_ns: int
    impossible: bool = False


@dataclass(frozen=True)
class CellClocks:
    """The clocks of one cell.

    proxy_offset_ns: what to add to the proxy's wall clock times; None: they are of no use. proxy_ns,
    replica_ns: by how much the proxy's and the replicas' moments may be off against the clients'. replicas:
    the replicas whose times count from a start of their own.
    """

    proxy_offset_ns: int | None
    proxy_ns: int
    replica_ns: int
    replicas: Mapping[str, ReplicaClock] = field(default_factory=dict)

    def replica_moment(self, column: str, replica: str = "replica") -> pl.Expr:
        """Return the column of a replica's moments on the cell's clock."""
        if not self.replicas:
            return pl.col(column)
        offsets = {name: clock.offset_ns for name, clock in self.replicas.items()}
        return pl.col(column) + pl.col(replica).replace_strict(offsets, default=0, return_dtype=pl.Int64)


def clocks_of(cell: Cell) -> CellClocks:
    """Return the clocks of a cell. Raises UserError naming its folder when a ledger cannot be read."""
    record = cell.record
    workers_ns = max((worker.offset_uncertainty_ns for worker in record.load_workers), default=0)
    replicas = _own_clocks(cell) if record.own_clocks else {}
    own_ns = max((clock.uncertainty_ns for clock in replicas.values()), default=0)
    moved_ns = record.wall_clock_moved_ns
    return CellClocks(
        -record.epoch_unix_ns if moved_ns <= MAX_MOVED_NS else None,
        PROXY_CLOCK_NS + moved_ns + workers_ns,
        SAME_CLOCK_NS + workers_ns + own_ns,
        replicas,
    )


def _own_clocks(cell: Cell) -> dict[str, ReplicaClock]:
    """Estimate each replica's clock from the requests that it answered with OK.

    A request arrives after its send and ends before its answer, so the offset lies between the largest
    (sent - arrived) and the smallest (done - ended). The middle is taken (as in RFC 5905, section 8).
    """
    ledger = cell.replica_ledger()
    if ledger is None:
        return {}
    answered = cell.requests().filter(pl.col("code") == "OK").select("request_id", "sent_ns", "done_ns")
    ended = ledger.filter(pl.col("code") == "OK").select(
        "request_id", "replica", "arrived_ns", pl.col("done_ns").alias("ended_ns")
    )
    bounds = (
        ended.join(answered, on="request_id", how="inner")
        .group_by("replica")
        .agg(
            (pl.col("sent_ns") - pl.col("arrived_ns")).max().alias("least"),
            (pl.col("done_ns") - pl.col("ended_ns")).min().alias("most"),
        )
    )
    with table_errors(cell.folder, "ledgers written by this lab"):
        rows = bounds.collect(engine="streaming")
    return {
        name: ReplicaClock((least + most) // 2, abs(most - least) // 2, impossible=least > most)
        for name, least, most in rows.iter_rows()
    }
