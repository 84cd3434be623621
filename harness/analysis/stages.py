"""Cuts each request into the stages of harness.metrics.stages."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl

from harness.analysis.clocks import CellClocks
from harness.analysis.ledger_join import proxy_rows
from harness.analysis.statistics import percentiles, reported_percentiles
from harness.analysis.stream_wait import stream_free
from harness.metrics.facts import StageTimes
from harness.metrics.stages import Stage
from harness.record.joined_table import STAGE_COLUMNS
from harness.record.run_directory import Cell

SLOWEST_SHARE = 0.01


def with_moments(joined: pl.LazyFrame, free: pl.DataFrame) -> pl.LazyFrame:
    """Return the joined ledgers (see join_ledgers) with stream_ns, retried_ns and started_ns.

    free: see free_streams. proxy_ns becomes the moment at which the request first reached the proxy. Moments
    are null where nothing tells them: stream_ns where the request waited for no stream.
    """
    again = pl.when(pl.col("proxy_rows") > 1).then("proxy_ns")
    # A join copies every column, and in most cells no request waits for a stream.
    if free.is_empty():
        waited = joined.with_columns(pl.lit(None, pl.Int64).alias("free_ns"))
    else:
        waited = joined.join(free.lazy(), on="request_id", how="left")
    return (
        waited.with_columns(
            pl.when(pl.col("free_ns") > pl.col("sent_ns")).then("free_ns").alias("stream_ns"),
            pl.max_horizontal("earlier_ended_ns", again).alias("retried_ns"),
            (pl.col("arrived_ns") + pl.col("queue_ns")).alias("started_ns"),
        )
        .with_columns(pl.col("first_proxy_ns").alias("proxy_ns"))
        .drop("free_ns", "first_proxy_ns")
    )


def free_streams(cell: Cell, clocks: CellClocks) -> pl.DataFrame:
    """Return the requests of a whole cell that waited for a stream: see stream_free."""
    rows = proxy_rows(cell, clocks)
    if rows is None or clocks.proxy_offset_ns is None:
        return stream_free(pl.DataFrame(schema=_NO_REQUESTS))
    columns = rows.select(
        "request_id", pl.col("proxy_connection").alias("connection"), "proxy_ns", "proxied_ns"
    )
    return stream_free(columns.collect(engine="streaming"))


_NO_REQUESTS = {
    "request_id": pl.Int64,
    "connection": pl.Int32,
    "proxy_ns": pl.Int64,
    "proxied_ns": pl.Int64,
}

# A moment that a request never reached, or whose row was lost -> the next moment that is known.
_LATER: Mapping[str, tuple[str, ...]] = {
    "proxy_ns": ("arrived_ns", "done_ns"),
    "arrived_ns": ("done_ns",),
    "started_ns": ("done_ns",),
    "finished_ns": ("done_ns",),
}


def with_stages(moments: pl.LazyFrame, stages: Mapping[str, Stage]) -> pl.LazyFrame:
    """Return `moments` with a column for each stage (STAGE_COLUMNS), ns.

    moments: planned_ns, done_ns and the moments that end the stages, which may be null. The stages of a
    request add up to done - planned. A moment counts at the earliest when the one before it has come, and at
    the latest at the end of the request, so that no stage is negative.
    """
    frame, before = moments, "planned_ns"
    for name, stage in stages.items():
        known = pl.coalesce(stage.ends, *_LATER.get(stage.ends, (before,)))
        moment = f"_{name}"
        at = pl.max_horizontal(before, pl.min_horizontal(known, "done_ns"))
        # The last stage ends with the request, come what may.
        at = pl.col("done_ns") if stage.ends == "done_ns" else at
        frame = frame.with_columns(at.alias(moment)).with_columns(
            (pl.col(moment) - pl.col(before)).alias(STAGE_COLUMNS[name])
        )
        before = moment
    return frame.drop(f"_{name}" for name in stages)


def stage_times(rows: pl.DataFrame, stages: Collection[str]) -> dict[str, StageTimes]:
    """Return stage -> its times in the requests of the measured window.

    rows: in_window, latency_ns and the columns of the stages.
    """
    latency_ns = rows.select(pl.col("latency_ns").filter("in_window")).to_series()
    if latency_ns.is_empty():
        return {}
    is_slow = pl.col("in_window") & (pl.col("latency_ns") >= percentiles(latency_ns)["p99"])
    return {name: _times(rows, STAGE_COLUMNS[name], is_slow) for name in stages}


def _times(rows: pl.DataFrame, column: str, is_slow: pl.Expr) -> StageTimes:
    # One column at a time: large cells have many requests.
    times = rows.select(pl.col(column).filter("in_window")).to_series()
    of_all, of_slow = rows.select(
        pl.col(column).filter("in_window").mean().alias("all"), pl.col(column).filter(is_slow).mean()
    ).row(0)
    return StageTimes(reported_percentiles(times), float(of_all), float(of_slow))
