"""What happened in one cell, counted once: metrics and plots need nothing else.

Whatever is counted is of the measured window, by planned send; the ledgers alone include the warm-up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from harness.ledgers import Ledgers, reconcile
from harness.record import Cell
from harness.tables import table_errors

RANKS = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999, "max": 1.0}
MOST_WINDOWS = 30

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Timeline:
    """The measured window cut into equal time windows, by planned send. Arrays: (windows, replicas).

    starts_s: start of each window, seconds after the start of measuring; width_s: their width.
    requests: answered requests. queue_ns: 99th percentile; in_flight: mean; NaN where none was answered.
    """

    starts_s: Floats
    width_s: float
    requests: Floats
    queue_ns: Floats
    in_flight: Floats


@dataclass(frozen=True)
class CellFacts:
    """One cell, aggregated. Percentiles ("p50" ... "max") are empty where there was no request.

    errors: gRPC code -> requests, without OK. replica_requests: every replica -> requests it answered.
    client_requests: client -> the same counts in the order of replica_requests.
    session_top_requests: sum over sessions of the requests on the session's most used replica.
    planned_rate_per_s: None in a closed loop, where nothing is planned ahead.
    """

    arm: str
    repeat: int
    status: str
    window_s: float
    requests: int
    errors: dict[str, int]
    replica_requests: dict[str, int]
    client_requests: dict[int, list[int]]
    sessions: int
    session_requests: int
    session_top_requests: int
    breaks: int
    latency_ns: dict[str, float]
    latency_from_send_ns: dict[str, float]
    lag_ns: dict[str, float]
    queue_ns: dict[str, float]
    in_flight: dict[str, float]
    planned_rate_per_s: float | None
    achieved_rate_per_s: float
    timeline: Timeline
    ledgers: Ledgers


def collect_facts(cell: Cell) -> CellFacts:
    """Read and aggregate the tables of one cell.

    Raises UserError naming the file when one is missing or damaged.
    """
    start, end = cell.info["measure_start_ns"], cell.info["measure_end_ns"]
    window_s = max((end - start) / 1e9, 1e-9)
    table = cell.requests()
    with table_errors(cell.folder, "request rows written by this lab"):
        names = _replica_names(table, cell)
        rows = _measured(table, names, start, end)
        sends = (
            table.filter(pl.col("sent_ns").is_between(start, end, closed="left")).select(pl.len()).collect()
        )
        answered = rows.filter(pl.col("replica").is_not_null())
        by_replica = dict(answered["replica"].value_counts().iter_rows())
        sessions = _sessions(answered)
        closed_loop = cell.info.get("planned_rate_per_s") is None
        return CellFacts(
            arm=cell.arm,
            repeat=cell.repeat,
            status=cell.status,
            window_s=window_s,
            requests=rows.height,
            errors=dict(sorted(rows.filter(pl.col("code") != "OK")["code"].value_counts().iter_rows())),
            replica_requests={name: by_replica.get(number, 0) for number, name in enumerate(names)},
            client_requests=_client_requests(rows, len(names)),
            sessions=sessions.height,
            session_requests=int(sessions["requests"].sum()),
            session_top_requests=int(sessions["top"].sum()),
            breaks=_breaks(answered),
            latency_ns=percentiles(rows["latency_ns"]),
            latency_from_send_ns=percentiles(rows["latency_from_send_ns"]),
            lag_ns=percentiles(rows["lag_ns"]),
            queue_ns=percentiles(answered["queue_ns"]),
            in_flight=percentiles(answered["in_flight"]),
            # The rate of the plan as drawn, not of the experiment file: a Poisson plan of 2,400 sends is
            # 2 % off its rate by chance, which is no fault of the generator.
            planned_rate_per_s=None if closed_loop else cell.info["planned_requests"] / window_s,
            achieved_rate_per_s=sends.item() / window_s,
            timeline=_timeline(answered, len(names), window_s),
            ledgers=reconcile(cell),
        )


def percentiles(values: pl.Series) -> dict[str, float]:
    """RANKS of `values` by nearest rank: the smallest value that at least this share does not exceed."""
    count = len(values)
    if count == 0:
        return {}
    places = {name: math.ceil(round(rank * count, 6)) - 1 for name, rank in RANKS.items()}
    placed = np.partition(values.to_numpy(), sorted(set(places.values())))
    return {name: float(placed[place]) for name, place in places.items()}


def window_width_s(duration_s: float) -> float:
    """The smallest of ..., 0.1, 0.2, 0.5, 1, 2, 5, ... s that cuts `duration_s` into <= MOST_WINDOWS."""
    smallest = duration_s / MOST_WINDOWS
    power = 10.0 ** math.floor(math.log10(smallest))
    return next(width for step in (1, 2, 5, 10) if (width := step * power) >= smallest * (1 - 1e-9))


def _replica_names(table: pl.LazyFrame, cell: Cell) -> list[str]:
    """The cell's replicas in their order, then names that only the rows have."""
    seen = table.select(pl.col("replica").unique()).collect(engine="streaming")["replica"]
    return [*cell.replicas, *sorted(set(seen) - {"", *cell.replicas})]


def _measured(table: pl.LazyFrame, names: Sequence[str], start_ns: int, end_ns: int) -> pl.DataFrame:
    """The rows of the measured window, narrow; replica is a place in `names`, or null."""
    done = pl.col("done_ns")
    places = pl.col("replica").replace_strict(
        list(names), list(range(len(names))), default=None, return_dtype=pl.UInt16
    )
    columns = table.filter(pl.col("planned_ns").is_between(start_ns, end_ns, closed="left")).select(
        "request_id",
        "client",
        "session",
        "queue_ns",
        "in_flight",
        pl.col("code").cast(pl.Categorical),
        places.alias("replica"),
        (pl.col("planned_ns") - start_ns).alias("at_ns"),
        (done - pl.col("planned_ns")).alias("latency_ns"),
        (done - pl.col("sent_ns")).alias("latency_from_send_ns"),
        (pl.col("sent_ns") - pl.col("planned_ns")).alias("lag_ns"),
    )
    return columns.collect(engine="streaming")


def _client_requests(rows: pl.DataFrame, replicas: int) -> dict[int, list[int]]:
    counts = {client: [0] * replicas for client in sorted(rows["client"].unique())}
    for client, replica, requests in rows.group_by("client", "replica").len().iter_rows():
        if replica is not None:
            counts[client][replica] = requests
    return counts


def _sessions(answered: pl.DataFrame) -> pl.DataFrame:
    """One row per session: its requests, and those on its most used replica."""
    by_replica = answered.group_by("client", "session", "replica").len()
    return by_replica.group_by("client", "session").agg(
        pl.col("len").sum().alias("requests"), pl.col("len").max().alias("top")
    )


def _breaks(answered: pl.DataFrame) -> int:
    """Times that a session's next request, in the order in which the client made them, changed replica."""
    ordered = answered.lazy().select("client", "session", "request_id", "replica")
    ordered = ordered.sort("client", "session", "request_id")

    def changed(name: str) -> pl.Expr:
        return pl.col(name) != pl.col(name).shift()

    moved = changed("replica") & ~changed("client") & ~changed("session")
    return int(ordered.select(moved.sum()).collect().item())


def _timeline(answered: pl.DataFrame, replicas: int, window_s: float) -> Timeline:
    width_s = window_width_s(window_s)
    windows = math.ceil(round(window_s / width_s, 6))
    grouped = answered.group_by(
        (pl.col("at_ns") / (width_s * 1e9)).cast(pl.Int64).alias("window"), "replica"
    ).agg(
        pl.len().alias("requests"),
        pl.col("queue_ns").quantile(0.99, "higher"),
        pl.col("in_flight").mean(),
    )
    place = (grouped["window"].to_numpy(), grouped["replica"].to_numpy())

    def spread(column: str, missing: float) -> Floats:
        table = np.full((windows, replicas), missing)
        table[place] = grouped[column].to_numpy()
        return table

    return Timeline(
        starts_s=np.arange(windows, dtype=np.float64) * width_s,
        width_s=width_s,
        requests=spread("requests", 0.0),
        queue_ns=spread("queue_ns", math.nan),
        in_flight=spread("in_flight", math.nan),
    )
