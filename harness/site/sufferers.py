"""Which clients suffer in an arm: those that wait much longer than is usual in another arm."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from harness.record.run_directory import Cell, Run
from harness.record.tables import table_errors

TIMES_USUAL = 2  # a client that waits more than so many times as long as is usual suffers
MIN_REQUESTS = 10  # of a client; with fewer its p90 is nearly its maximum
NEVER_MS = float("inf")  # how long a failed request waits

Who = Literal["nobody", "busiest", "some", "most"]


@dataclass(frozen=True)
class Sufferers:
    """Who suffers, in which repeat. usual_ms: p90 of the typical client of the arm that is compared with."""

    who: Who
    suffering: int
    clients: int
    usual_ms: float
    repeat: int
    busiest_suffers: bool


def sufferers_of(run: Run, arm: str, base: str) -> Sufferers | None:
    """Return who suffers in `arm`, beside the typical client of `base`, in the first repeat of both.

    A client's figure is the 90th percentile of its requests' latency from the planned send; a failed request
    waits for ever. None: a cell is missing, fewer than two clients have enough requests, or so many requests
    of `base` fail that its typical client waits for ever.
    """
    of_arm, of_base = run.cells_of(arm), run.cells_of(base)
    if not of_arm or not of_base:
        return None
    waits, usual = _p90_ms(of_arm[0]), _p90_ms(of_base[0])
    if len(waits) < 2 or not usual:
        return None
    usual_ms = statistics.median(usual.values())
    if usual_ms == NEVER_MS:
        return None
    suffering = {client for client, wait_ms in waits.items() if wait_ms > TIMES_USUAL * usual_ms}
    busiest = next(iter(waits))
    return Sufferers(
        _who(list(waits), suffering),
        len(suffering),
        len(waits),
        usual_ms,
        of_arm[0].record.repeat,
        busiest in suffering,
    )


def _who(clients: list[int], suffering: set[int]) -> Who:
    """Return who they are. clients: those that send most come first."""
    if not suffering:
        return "nobody"
    if len(suffering) * 2 > len(clients):
        return "most"
    return "busiest" if suffering == set(clients[: len(suffering)]) else "some"


def _p90_ms(cell: Cell) -> Mapping[int, float]:
    """Return client -> p90 of its latency in ms, the client with most requests first."""
    record = cell.record
    wait_ms = (pl.col("done_ns") - pl.col("planned_ns")) / 1e6
    planned = pl.col("planned_ns").is_between(record.measure_start_ns, record.measure_end_ns, closed="left")
    with table_errors(cell.folder, "ledgers written by this lab"):
        rows = (
            cell.requests()
            .filter(planned)
            .with_columns(pl.when(pl.col("code") == "OK").then(wait_ms).otherwise(NEVER_MS).alias("wait_ms"))
            .group_by("client")
            .agg(pl.len().alias("requests"), pl.col("wait_ms").quantile(0.9, "higher"))
            .filter(pl.col("requests") >= MIN_REQUESTS)
            .sort(["requests", "client"], descending=[True, False])
            .collect()
        )
    return dict(zip(rows["client"].to_list(), rows["wait_ms"].to_list(), strict=True))
