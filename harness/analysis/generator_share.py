"""The load generator's own share of each latency, and what the latency would have been without it.

The share is late sending, late receiving, and what is neither the proxy nor the replica: the way from the
client's call to the proxy, and from the proxy to the client's code. On a calm machine that is about a
millisecond. Where other programs take the CPU it grows, and no other figure shows it.

It leaves out what a client waits for by its nature: an earlier answer, a free stream, a connection, an
earlier attempt. A request waited for its connection if it was sent before the first request arrived over it.

Where the proxy keeps no ledger of requests, the way to the replica is left out: gRPC may have waited there
for a connection, or the replica's process may have been frozen. Late receiving is then the time from the end
in the replica to the client's code, until the first event of the cell: a network that is cut looks the same.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import polars as pl

from harness.analysis.clocks import CellClocks
from harness.analysis.latency import latency_of
from harness.analysis.ledger_join import proxy_rows
from harness.analysis.statistics import reported_percentiles
from harness.metrics.facts import CellFacts, GeneratorShare, Latency
from harness.metrics.metric import NS_PER_MS
from harness.metrics.stages import Cut
from harness.record.run_directory import Cell

COLUMN = "generator_ns"


def first_over_connections(cell: Cell, clocks: CellClocks) -> pl.DataFrame:
    """Return proxy_connection, connected_ns: when the first request came to the proxy over it."""
    rows = proxy_rows(cell, clocks)
    if rows is None:
        return pl.DataFrame(schema={"proxy_connection": pl.Int32, "connected_ns": pl.Int64})
    first = rows.group_by("proxy_connection").agg(pl.col("proxy_ns").min().alias("connected_ns"))
    return first.collect(engine="streaming")


def with_generator_share(
    moments: pl.LazyFrame, cell: Cell, cut: Cut | None, first: pl.DataFrame
) -> pl.LazyFrame:
    """Return `moments` (see with_moments) with generator_ns: the generator's own share of done - planned.

    first: see first_over_connections, of the whole cell.
    """
    late = _positive(pl.col("sent_ns") - pl.col("ready_ns"))
    if cut is None:
        return moments.with_columns(late.alias(COLUMN))
    if cut == "replicas":
        events = [event.t_ns for event in cell.events()]
        told = (pl.col("code") == "OK") & (pl.col("done_ns") < min(events, default=_NEVER_NS))
        back = pl.when(told).then(pl.col("done_ns") - pl.col("finished_ns"))
        return moments.with_columns((late + _positive(back)).alias(COLUMN))
    connected_ns = pl.col("proxy_connection").replace_strict(
        first["proxy_connection"], first["connected_ns"], default=None, return_dtype=pl.Int64
    )
    connected = connected_ns <= pl.col("sent_ns")
    # A request that had ended before the proxy had it waited no longer than until its end.
    there = pl.min_horizontal("proxy_ns", "done_ns") - pl.max_horizontal("sent_ns", "stream_ns")
    there = pl.when(connected).then(there)
    back = pl.when(pl.col("proxy_code").is_not_null()).then(pl.col("done_ns") - pl.col("proxied_ns"))
    return moments.with_columns((late + _positive(there) + _positive(back)).alias(COLUMN))


_NEVER_NS = 2**62


def _positive(duration: pl.Expr) -> pl.Expr:
    """Return the duration; 0 where it is negative or null."""
    return pl.max_horizontal(duration, 0)


def generator_share(rows: pl.DataFrame) -> GeneratorShare:
    """Return the share in the requests of the measured window. rows: see harness.analysis.joined."""
    # Their sums and differences may need more bytes than the columns have.
    window = rows.lazy().filter("in_window")
    own, late = pl.col(COLUMN).cast(pl.Int64), pl.col("late_ns").cast(pl.Int64)

    def less(part: pl.Expr, column: str) -> Latency:
        # One column at a time: large cells have many requests.
        return latency_of(window.select("ok", pl.col(column).cast(pl.Int64) - part).collect(), column)

    return GeneratorShare(
        reported_percentiles(window.select(COLUMN).collect()[COLUMN]),
        less(own, "latency_ns"),
        less(own - late, "latency_from_send_ns"),
    )


def own_part_ms(facts: CellFacts, metric: str) -> float | None:
    """Return how much of a latency figure (ms) the lab itself caused; None for every other metric."""
    found = _with_and_without(facts, metric)
    return None if found is None else (found.whole_ns - found.rest_ns) / NS_PER_MS


class _Figure(NamedTuple):
    """A latency figure as measured, and from the latencies less the load generator's share."""

    whole_ns: float
    rest_ns: float

    @property
    def part(self) -> float:
        return 1 - self.rest_ns / self.whole_ns if self.whole_ns > 0 else 0.0


def _with_and_without(facts: CellFacts, metric: str) -> _Figure | None:
    group, _, rank = metric.partition(".")
    own = facts.generator
    pairs = {
        "latency_ms": (facts.latency.of_all_ns, own.latency.of_all_ns),
        "ok_latency_ms": (facts.latency.of_ok_ns, own.latency.of_ok_ns),
        "latency_from_send_ms": (facts.latency_from_send.of_all_ns, own.latency_from_send.of_all_ns),
    }
    whole, rest = pairs.get(group, ({}, {}))
    if rank not in whole or rank not in rest or math.isinf(whole[rank]):
        return None  # without the lab's share, the requests on which it falls would have failed all the same
    return _Figure(whole[rank], rest[rank])
