"""The measured window over time: who answered how much, and how busy the replicas were."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from harness.metrics.facts import Healthy, Timeline, WindowSeries
from harness.record.event_log import EndpointChange

MAX_WINDOWS = 30

Floats = npt.NDArray[np.float64]


def window_width_s(duration_s: float, most: int = MAX_WINDOWS) -> float:
    """The smallest of ..., 0.1, 0.2, 0.5, 1, 2, 5, ... s that cuts `duration_s` into `most` or less."""
    smallest = duration_s / most
    power = 10.0 ** math.floor(math.log10(smallest))
    return next(width for step in (1, 2, 5, 10) if (width := step * power) >= smallest * (1 - 1e-9))


def timeline_of(answered: pl.DataFrame, replicas: int, window_s: float) -> Timeline:
    """The timeline of answered requests: columns at_ns, replica (number), queue_ns, in_flight."""
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


MAX_STEPS = 80
MAX_SESSIONS = 24

Places = npt.NDArray[np.int64]


def window_series_of(rows: pl.DataFrame, window_s: float) -> WindowSeries:
    """The course of a window. rows: client, session, request_id, replica, ok, at_ns, latency_ns."""
    width_s = window_width_s(window_s, MAX_STEPS)
    steps = math.ceil(round(window_s / width_s, 6))
    step = (pl.col("at_ns") / (width_s * 1e9)).cast(pl.Int64).clip(0, steps - 1).alias("step")
    stepped = rows.select("client", "session", "request_id", "replica", "ok", "at_ns", "latency_ns", step)
    totals = stepped.group_by("step").agg(
        pl.col("ok").sum().alias("good"),
        (~pl.col("ok")).sum().alias("failed"),
        pl.col("latency_ns").quantile(0.5, "higher").alias("p50_ns"),
        pl.col("latency_ns").quantile(0.99, "higher").alias("p99_ns"),
    )
    place = totals["step"].to_numpy()

    def over_steps(column: str, missing: float) -> Floats:
        values = np.full(steps, missing)
        values[place] = totals[column].to_numpy()
        return values

    sessions, replicas, lapses = _ribbon(stepped, steps)
    return WindowSeries(
        starts_s=np.arange(steps, dtype=np.float64) * width_s,
        width_s=width_s,
        good=over_steps("good", 0.0),
        failed=over_steps("failed", 0.0),
        p50_ns=over_steps("p50_ns", math.nan),
        p99_ns=over_steps("p99_ns", math.nan),
        sessions=sessions,
        replicas=replicas,
        lapses=lapses,
    )


def _ribbon(stepped: pl.DataFrame, steps: int) -> tuple[list[tuple[int, int]], Places, Places]:
    answered_first = pl.col("replica").sort_by("request_id").drop_nulls().first()
    lasting = (
        stepped.group_by("client", "session")
        .agg((pl.col("step").max() - pl.col("step").min()).alias("lasted"))
        .sort("lasted", "client", "session", descending=[True, False, False])
        .head(MAX_SESSIONS)
    )
    shown = stepped.join(lasting, on=["client", "session"], how="semi")
    order = (
        shown.group_by("client", "session")
        .agg(answered_first.alias("first"))
        .sort("first", "client", "session", nulls_last=True)
        .with_row_index("row")
        .select("client", "session", pl.col("row").cast(pl.Int64))
    )
    cells = (
        shown.join(order, on=["client", "session"])
        .group_by("row", "step")
        .agg(
            pl.col("replica").sort_by("request_id").drop_nulls().last(),
            (~pl.col("ok")).sum().alias("lapses"),
        )
    )
    replicas = np.full((order.height, steps), -1, dtype=np.int64)
    lapses = np.zeros((order.height, steps), dtype=np.int64)
    where = (cells["row"].to_numpy(), cells["step"].to_numpy())
    replicas[where] = cells["replica"].cast(pl.Int64).fill_null(-1).to_numpy()
    lapses[where] = cells["lapses"].to_numpy()
    return list(order.select("client", "session").iter_rows()), replicas, lapses


ONE_LOOK_NS = 25_000_000  # what is written down that soon was seen in one look, half the time between two


def healthy_replicas(changes: Sequence[EndpointChange], start_ns: int, end_ns: int) -> Healthy:
    """Replicas in the state healthy while measuring, from `start_ns` to `end_ns`.

    changes: by time, the first of each replica its state when measuring began. What was known first counts
    from `start_ns` on.
    """
    if not changes or end_ns <= start_ns:
        return Healthy()
    first_look_ns = changes[0].t_ns + ONE_LOOK_NS
    first = [change for change in changes if change.t_ns <= max(first_look_ns, start_ns)]
    states = {change.replica: change.state for change in first}
    count, since_ns, area = _count(states), start_ns, 0
    least = count
    for change in changes[len(first) :]:
        if change.t_ns >= end_ns:
            break
        area += count * (change.t_ns - since_ns)
        states[change.replica] = change.state
        count, since_ns = _count(states), change.t_ns
        least = min(least, count)
    area += count * (end_ns - since_ns)
    return Healthy(least, area / (end_ns - start_ns))


def _count(states: dict[str, str]) -> int:
    return sum(state == "healthy" for state in states.values())
