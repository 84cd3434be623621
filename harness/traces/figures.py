"""The figures of a trace: where requests went, sessions, hot clients, errors and latency by target.

The arithmetic is that of the lab's own runs: harness.metrics.metric, harness.analysis.sessions and
harness.analysis.statistics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from harness.analysis.sessions import sessions_of
from harness.analysis.statistics import reported_percentiles
from harness.metrics.facts import Sessions
from harness.metrics.metric import Number, max_over_mean, share, window_width_s
from harness.traces.presence import Presence, presence_of, present_in
from harness.traces.trace import Trace

MINUTE_S = 60.0
MAX_WINDOWS = 2880  # two days of minutes; longer traces have wider windows
# Windows with fewer requests for each target say more of chance than of balance.
MIN_REQUESTS_PER_TARGET = 10
MAX_TIMED_TARGETS = 64  # whose percentiles are computed; the busiest

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TargetFigures:
    """One target. share: of the requests that reached a target.

    failed: requests without an answer or with status 5xx. refused: 4xx. time_ns: percentiles of the target's
    time ("p50" ...); mean_ns, cv: its mean and coefficient of variation; None without times. in_flight: mean
    number of requests at the target while it was there (Little's law: rate x time).
    """

    name: str
    requests: int
    share: float
    failed: int
    refused: int
    time_ns: Mapping[str, float]
    mean_ns: float | None
    cv: float | None
    in_flight: float | None
    presence: Presence


@dataclass(frozen=True)
class WindowFigures:
    """The trace in windows of width_s (60 unless it is longer than two days), those with requests only.

    starts_s: (windows,), seconds after the first request. requests, present: (windows,), requests that
    reached a target, and targets that were there. busiest_over_fair: (windows,), the busiest target's
    requests / the fair share among the targets present; NaN in windows with too few requests. by_target:
    columns window, target, requests.
    """

    width_s: float
    starts_s: Floats
    requests: Ints
    present: Ints
    busiest_over_fair: Floats
    by_target: pl.DataFrame


@dataclass(frozen=True)
class HotClients:
    """Shares of the requests. clients: with a request. half: the fewest clients that made half of them.

    top_1, top_10, top_percent: share of the busiest client, of the ten busiest, of the busiest 1 %.
    """

    clients: int
    top_1: float
    top_10: float
    top_percent: float
    half: int


@dataclass(frozen=True)
class TraceFigures:
    """All figures of a trace. targets: the busiest first; max_over_mean: over all of them and all the time.

    statuses: class ("2xx", ..., "none") -> requests. unrouted: requests that reached no target. sessions,
    hot: None where the log does not tell clients apart.
    """

    requests: int
    start_ns: int
    span_s: float
    unrouted: int
    statuses: Mapping[str, int]
    targets: Sequence[TargetFigures]
    max_over_mean: Number
    windows: WindowFigures
    sessions: Sessions | None
    hot: HotClients | None

    @property
    def purity(self) -> Number:
        """Share of a session's requests on its most used target, weighted by requests."""
        return None if self.sessions is None else share(self.sessions.top_requests, self.sessions.requests)

    @property
    def break_share(self) -> Number:
        """Breaks / requests that follow another one of their session."""
        sessions = self.sessions
        return None if sessions is None else share(sessions.breaks, sessions.requests - sessions.count)

    @property
    def rate_per_s(self) -> float:
        """Mean arrivals per second; those of a trace of one instant count as one second's."""
        return self.requests / max(self.span_s, 1.0)


def figures_of(trace: Trace) -> TraceFigures:
    """Return all figures of a trace."""
    table = trace.table
    presences = presence_of(table, trace.start_ns, len(trace.targets))
    targets = _targets(trace, presences)
    answered = int(table["target"].count())
    return TraceFigures(
        requests=table.height,
        start_ns=trace.start_ns,
        span_s=trace.span_s,
        unrouted=table.height - answered,
        statuses=_statuses(table),
        targets=targets,
        max_over_mean=max_over_mean([target.requests for target in targets]),
        windows=window_figures(trace, presences),
        sessions=session_figures(trace),
        hot=hot_clients(client_counts(table)),
    )


def _statuses(table: pl.DataFrame) -> dict[str, int]:
    found = table.group_by((pl.col("status") // 100).alias("class")).len().sort("class", nulls_last=True)
    return {f"{kind}xx" if kind else "none": count for kind, count in found.iter_rows()}


def _targets(trace: Trace, presences: Sequence[Presence]) -> list[TargetFigures]:
    status = pl.col("status").fill_null(0)
    sums = (
        trace.table.lazy()
        .filter(pl.col("target").is_not_null())
        .group_by("target")
        .agg(
            pl.len().alias("requests"),
            ((status >= 500) | (status == 0)).sum().alias("failed"),
            status.is_between(400, 499).sum().alias("refused"),
            pl.col("target_time_ns").mean().alias("mean_ns"),
            pl.col("target_time_ns").cast(pl.Float64).std(ddof=0).alias("sd_ns"),
        )
        .sort("requests", "target", descending=[True, False])
        .collect()
    )
    total = int(sums["requests"].sum())
    return [
        TargetFigures(
            name=trace.targets[row["target"]],
            requests=row["requests"],
            share=row["requests"] / total,
            failed=row["failed"],
            refused=row["refused"],
            time_ns=_times(trace.table, row["target"]) if place < MAX_TIMED_TARGETS else {},
            mean_ns=row["mean_ns"],
            cv=row["sd_ns"] / row["mean_ns"] if row["mean_ns"] else None,
            in_flight=_in_flight(row, presences[row["target"]]),
            presence=presences[row["target"]],
        )
        for place, row in enumerate(sums.iter_rows(named=True))
    ]


def _times(table: pl.DataFrame, target: int) -> dict[str, float]:
    times = table.lazy().filter(pl.col("target") == target).select("target_time_ns").collect().to_series()
    return reported_percentiles(times.drop_nulls())


def _in_flight(row: Mapping[str, float], presence: Presence) -> float | None:
    seconds = max(presence.seconds, 1.0)
    return None if row["mean_ns"] is None else row["requests"] / seconds * row["mean_ns"] / 1e9


def window_figures(trace: Trace, presences: Sequence[Presence]) -> WindowFigures:
    """Return the trace cut into windows."""
    width_s = MINUTE_S
    if trace.span_s > MAX_WINDOWS * MINUTE_S:
        width_s = window_width_s(trace.span_s, MAX_WINDOWS)
    window = ((pl.col("time_unix_ns") - trace.start_ns) // round(width_s * 1e9)).alias("window")
    by_target = (
        trace.table.lazy()
        .filter(pl.col("target").is_not_null())
        .group_by(window, "target")
        .agg(pl.len().cast(pl.Int64).alias("requests"))
        .sort("window", "target")
        .collect()
    )
    sums = by_target.group_by("window").agg(
        pl.col("requests").sum(), pl.col("requests").max().alias("busiest")
    ).sort("window")  # fmt: skip
    numbers = sums["window"].to_numpy()
    requests, busiest = sums["requests"].to_numpy(), sums["busiest"].to_numpy()
    present = present_in(presences, numbers, width_s)
    enough = requests >= MIN_REQUESTS_PER_TARGET * present
    return WindowFigures(
        width_s=width_s,
        starts_s=numbers * width_s,
        requests=requests,
        present=present,
        # metrics.metric.max_over_mean, of all windows at once.
        busiest_over_fair=np.where(enough, busiest * present / requests, math.nan),
        by_target=by_target,
    )


def session_figures(trace: Trace) -> Sessions | None:
    """Return the counts of the sessions: those that the log names, and else the clients."""
    table = trace.table
    key = pl.coalesce("session", "client") if "session" in table.columns else pl.col("client")
    answered = (
        table.lazy()
        .select(key.alias("client"), pl.lit(0, pl.UInt8).alias("session"), pl.col("target").alias("replica"))
        .with_row_index("request_id")  # the table is sorted by time
        .filter(pl.col("client").is_not_null() & pl.col("replica").is_not_null())
        .collect()
    )
    if not answered.height:
        return None
    counts = answered.group_by("client", "session", "replica").agg(pl.len().alias("requests"))
    return sessions_of(counts, answered, list(trace.targets), {})


def client_counts(table: pl.DataFrame) -> Ints:
    """Return the requests of each client, (clients,), the busiest first."""
    counts = table["client"].drop_nulls().value_counts()["count"].to_numpy().astype(np.int64)
    return np.sort(counts)[::-1]


def hot_clients(counts: Ints) -> HotClients | None:
    """Return the shares of the busiest clients. counts: see client_counts. None without clients."""
    if not len(counts):
        return None
    total = int(counts.sum())
    summed = counts.cumsum()
    percent = math.ceil(len(counts) / 100)
    return HotClients(
        clients=len(counts),
        top_1=int(counts[0]) / total,
        top_10=int(summed[min(10, len(counts)) - 1]) / total,
        top_percent=int(summed[percent - 1]) / total,
        half=int(np.searchsorted(summed, total / 2)) + 1,
    )
