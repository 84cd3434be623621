"""Puts the ledgers of one cell on one clock, and says how exact that is.

Clients and replicas on this machine count nanoseconds from the cell's start on one monotonic clock. Envoy's
ledger has the wall clock's times, and so has the log of another load balancer, by its own wall clock. Load
workers on other machines have allowed for their clock's offset, with an uncertainty. Replicas that the lab
did not start count from starts of their own.
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
class OtherClock:
    """What to add to the times of another clock, and how exact that is. impossible: nothing fits all rows."""

    offset_ns: int
    uncertainty_ns: int
    impossible: bool = False

    @classmethod
    def between(cls, least_ns: int, most_ns: int, slack_ns: int = 0) -> OtherClock:
        """Return the clock whose offset lies between two bounds, whose times are off by up to slack_ns.

        A request arrives after its send and ends before its answer, so the offset lies between the largest
        (sent - arrived) and the smallest (done - ended). The middle is taken (as in RFC 5905, section 8).
        """
        return cls((least_ns + most_ns) // 2, abs(most_ns - least_ns) // 2, least_ns > most_ns + 2 * slack_ns)


@dataclass(frozen=True)
class CellClocks:
    """The clocks of one cell.

    proxy_offset_ns: what to add to the proxy's wall clock times; None: they are of no use. proxy_ns,
    replica_ns: by how much the proxy's and the replicas' moments may be off against the clients'. replicas:
    the replicas whose times count from a start of their own. log_impossible: no offset fits the times in the
    log of a load balancer that is not the lab's.
    """

    proxy_offset_ns: int | None
    proxy_ns: int
    replica_ns: int
    replicas: Mapping[str, OtherClock] = field(default_factory=dict)
    log_impossible: bool = False

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
    log = _log_clock(cell)
    proxy_ns = PROXY_CLOCK_NS + moved_ns + workers_ns
    return CellClocks(
        log.offset_ns - record.epoch_unix_ns if moved_ns <= MAX_MOVED_NS else None,
        proxy_ns if cell.proxy_log is None else proxy_ns + log.uncertainty_ns + own_ns,
        SAME_CLOCK_NS + workers_ns + own_ns,
        replicas,
        log.impossible,
    )


def _log_clock(cell: Cell) -> OtherClock:
    """Return the clock of a load balancer's log beside this machine's wall clock; 0 for the lab's own Envoy.

    Such logs have whole milliseconds, so a row may have begun or ended a millisecond earlier or later.
    """
    log = None if cell.proxy_log is None else cell.proxy_ledger()
    if log is None:
        return OtherClock(0, 0)
    began = pl.col("start_unix_ns") - cell.record.epoch_unix_ns
    rows = log.select(
        "request_id",
        pl.lit("log").alias("clock"),
        began.alias("arrived_ns"),
        (began + pl.col("duration_us") * 1000).alias("ended_ns"),
    )
    return _estimated(cell, rows, PROXY_CLOCK_NS).get("log", OtherClock(0, 0))


def _own_clocks(cell: Cell) -> dict[str, OtherClock]:
    """Return each replica's clock, by the requests that it answered with OK."""
    ledger = cell.replica_ledger()
    if ledger is None:
        return {}
    ended = ledger.filter(pl.col("code") == "OK")
    clock, ended_ns = pl.col("replica").alias("clock"), pl.col("done_ns").alias("ended_ns")
    return _estimated(cell, ended.select("request_id", clock, "arrived_ns", ended_ns))


def _estimated(cell: Cell, rows: pl.LazyFrame, slack_ns: int = 0) -> dict[str, OtherClock]:
    """Return name -> its clock. rows: request_id, `clock` (the name), and arrived_ns and ended_ns on it."""
    answered = cell.requests().filter(pl.col("code") == "OK").select("request_id", "sent_ns", "done_ns")
    bounds = (
        rows.join(answered, on="request_id", how="inner")
        .group_by("clock")
        .agg(
            (pl.col("sent_ns") - pl.col("arrived_ns")).max().alias("least"),
            (pl.col("done_ns") - pl.col("ended_ns")).min().alias("most"),
        )
        .drop_nulls()
    )
    with table_errors(cell.folder, "ledgers written by this lab"):
        found = bounds.collect(engine="streaming")
    return {name: OtherClock.between(least, most, slack_ns) for name, least, most in found.iter_rows()}
