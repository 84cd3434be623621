"""The measured window over time: each replica, the whole load, some sessions, and how even it was."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from harness.metrics.facts import Healthy, NodeSeries, ReplicaSeries, WindowSeries
from harness.metrics.metric import MAX_STEPS, window_width_s
from harness.record.event_log import EndpointChange

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAX_SESSIONS = 24  # of WindowSeries
REQUESTS_PER_ROUND = 3  # of each replica, in a round of `short_run_unfairness`


def replica_series_of(
    answered: pl.DataFrame, attempts: pl.DataFrame, replicas: int, window_s: float
) -> ReplicaSeries:
    """Return each replica over time.

    answered: the answered requests, at_ns and replica (index). attempts: at_ns, replica, queue_ns, in_flight,
    see harness.analysis.attempts.
    """
    width_s, windows, window = _windows(window_s)
    answers, waits = pl.collect_all(
        [
            answered.lazy().group_by(window, "replica").agg(pl.len().alias("requests")),
            attempts.lazy().group_by(window, "replica").agg(pl.max("queue_ns"), pl.mean("in_flight")),
        ],
        engine="streaming",
    )

    def table_of(grouped: pl.DataFrame, column: str, missing: float) -> Floats:
        table = np.full((windows, replicas), missing)
        table[grouped["window"].to_numpy(), grouped["replica"].to_numpy()] = grouped[column].to_numpy()
        return table

    return ReplicaSeries(
        starts_s=np.arange(windows, dtype=np.float64) * width_s,
        width_s=width_s,
        requests=table_of(answers, "requests", 0.0),
        queue_ns=table_of(waits, "queue_ns", math.nan),
        in_flight=table_of(waits, "in_flight", math.nan),
    )


def node_series_of(answered: pl.DataFrame, nodes: Sequence[str], window_s: float) -> NodeSeries:
    """Return each node of the proxy over time. answered: the answered requests, at_ns and node (index)."""
    _, windows, window = _windows(window_s)
    known = answered.lazy().filter(pl.col("node").is_not_null())
    counts = known.group_by(window, "node").agg(pl.len()).collect(engine="streaming")
    requests = np.zeros((windows, len(nodes)))
    requests[counts["window"].to_numpy(), counts["node"].to_numpy()] = counts["len"].to_numpy()
    return NodeSeries(nodes, requests)


def _windows(window_s: float) -> tuple[float, int, pl.Expr]:
    """Return the width (s) and number of the windows of a measured window, and that of a request (at_ns)."""
    width_s = window_width_s(window_s)
    windows = math.ceil(round(window_s / width_s, 6))
    return width_s, windows, (pl.col("at_ns") / (width_s * 1e9)).cast(pl.Int64).alias("window")


def window_series_of(rows: pl.DataFrame, window_s: float) -> WindowSeries:
    """Return the whole load and some sessions over time.

    rows: client, session, request_id, replica (index, or null), ok, at_ns, latency_ns.
    """
    width_s = window_width_s(window_s, MAX_STEPS)
    steps = math.ceil(round(window_s / width_s, 6))
    step = (pl.col("at_ns") / (width_s * 1e9)).cast(pl.Int64).clip(0, steps - 1).alias("step")
    stepped = rows.select("client", "session", "request_id", "replica", "ok", "at_ns", "latency_ns", step)
    totals = stepped.group_by("step").agg(
        pl.col("ok").sum().alias("good"),
        (~pl.col("ok")).sum().alias("failed"),
        pl.col("latency_ns").filter("ok").quantile(0.5, "higher").alias("p50_ns"),
        pl.col("latency_ns").filter("ok").max().alias("max_ns"),
    )
    index = totals["step"].to_numpy()

    def over_steps(column: str, missing: float) -> Floats:
        values = np.full(steps, missing)
        values[index] = totals[column].to_numpy()
        return values

    sessions, replicas, failures = _session_series(stepped, steps)
    return WindowSeries(
        starts_s=np.arange(steps, dtype=np.float64) * width_s,
        width_s=width_s,
        good=over_steps("good", 0.0),
        failed=over_steps("failed", 0.0),
        p50_ns=over_steps("p50_ns", math.nan),
        max_ns=over_steps("max_ns", math.nan),
        sessions=sessions,
        replicas=replicas,
        failures=failures,
    )


def _session_series(stepped: pl.DataFrame, steps: int) -> tuple[list[tuple[int, int]], Ints, Ints]:
    """Return WindowSeries.sessions, .replicas and .failures. stepped: the rows with their `step`."""
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
    by_row_and_step = (
        shown.join(order, on=["client", "session"])
        .group_by("row", "step")
        .agg(
            pl.col("replica").sort_by("request_id").drop_nulls().last(),
            (~pl.col("ok")).sum().alias("failures"),
        )
    )
    replicas = np.full((order.height, steps), -1, dtype=np.int64)
    failures = np.zeros((order.height, steps), dtype=np.int64)
    index = (by_row_and_step["row"].to_numpy(), by_row_and_step["step"].to_numpy())
    replicas[index] = by_row_and_step["replica"].cast(pl.Int64).fill_null(-1).to_numpy()
    failures[index] = by_row_and_step["failures"].to_numpy()
    return list(order.select("client", "session").iter_rows()), replicas, failures


def short_run_unfairness(answered: pl.DataFrame, replicas: int) -> float | None:
    """Return how uneven the balancer is in the short run, in requests.

    A round is REQUESTS_PER_ROUND x `replicas` successive requests by planned send (columns at_ns, replica).
    The unfairness of a round is the largest distance of a replica's requests from REQUESTS_PER_ROUND. The
    result is the mean over all rounds. Strict round robin gives 0 to 0.75, because a round may begin
    anywhere. Random choice gives about 2 with four replicas. None without a whole round.
    """
    size = REQUESTS_PER_ROUND * replicas
    rounds = answered.height // size
    if not rounds:
        return None
    in_order = answered["replica"].to_numpy()[np.argsort(answered["at_ns"].to_numpy())][: rounds * size]
    bins = in_order.reshape(rounds, size) + replicas * np.arange(rounds)[:, None]
    counts = np.bincount(bins.ravel(), minlength=rounds * replicas).reshape(rounds, replicas)
    return float(np.abs(counts - REQUESTS_PER_ROUND).max(axis=1).mean())


def healthy_replicas(
    changes: Sequence[EndpointChange], initial: Collection[str], start_ns: int, end_ns: int
) -> Healthy:
    """Return the minimum and mean number of healthy replicas from `start_ns` to `end_ns`.

    changes: by time. initial: the replicas that were there when measuring began. The first change of each of
    them is its state at `start_ns`, however long the lab took to write it down.
    """
    if not changes or end_ns <= start_ns:
        return Healthy()
    states = {change.replica: change.state for change in reversed(changes) if change.replica in initial}
    states |= {change.replica: change.state for change in changes if change.t_ns <= start_ns}
    count, since_ns, area = _count_healthy(states), start_ns, 0
    minimum = count
    for change in changes:
        if not start_ns < change.t_ns < end_ns:
            continue
        area += count * (change.t_ns - since_ns)
        states[change.replica] = change.state
        count, since_ns = _count_healthy(states), change.t_ns
        minimum = min(minimum, count)
    area += count * (end_ns - since_ns)
    return Healthy(minimum, area / (end_ns - start_ns))


def _count_healthy(states: dict[str, str]) -> int:
    return sum(state == "healthy" for state in states.values())
