"""A model of a trace's workload: rates and their skew, burstiness, session lengths, service times."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

import numpy as np
import polars as pl

from harness.analysis.statistics import reported_percentiles
from harness.traces.figures import TraceFigures, client_counts
from harness.traces.trace import Trace
from harness.traces.zipf import ZipfFit, fit_zipf

SESSION_PAUSE_S = 1800.0  # a longer pause ends a session, as web statistics count them
_COUNTED_S = (1.0, 10.0, 60.0)  # windows of the index of dispersion
MIN_WINDOWS = 30
MAX_WINDOWS = 10_000_000


@dataclass(frozen=True)
class Burstiness:
    """How much arrivals come in bursts. Poisson arrivals have 1 in all of these.

    dispersion: seconds -> variance / mean of the arrivals in windows of that length (index of dispersion for
    counts; R. Gusella, Characterizing the variability of arrival processes with indexes of dispersion, IEEE
    Journal on Selected Areas in Communications 9, 1991). Only lengths of which the trace has MIN_WINDOWS.
    Growth with the length means that the rate itself changes. gap_cv: coefficient of variation of the time
    between arrivals; None for less than three requests.
    """

    dispersion: dict[float, float]
    gap_cv: float | None


@dataclass(frozen=True)
class SessionLengths:
    """Sessions that end after a pause of SESSION_PAUSE_S: how many, and percentiles of their length.

    requests: of the number of requests; seconds: of the time from first to last. mean_requests: the mean.
    """

    count: int
    mean_requests: float
    requests: dict[str, float]
    seconds: dict[str, float]


@dataclass(frozen=True)
class WorkloadModel:
    """The workload of a trace. skew: None where clients cannot be told apart.

    distribution: of the lab's service times, the one with the nearest coefficient of variation: "constant"
    (0), "exponential" (1) or "lognormal" (1.31). service_ms: mean over targets of their mean; slow: targets
    at least SLOW_TIMES the median -> that factor. Both None and empty without times.
    """

    rate_per_s: float
    clients: int
    skew: ZipfFit | None
    burstiness: Burstiness
    sessions: SessionLengths | None
    distribution: str
    service_ms: float | None
    slow: dict[str, float]


SLOW_TIMES = 1.5


def model_of(trace: Trace, figures: TraceFigures) -> WorkloadModel:
    """Return the model."""
    counts = client_counts(trace.table)
    timed = [target for target in figures.targets if target.mean_ns]
    means = {target.name: target.mean_ns / 1e6 for target in timed if target.mean_ns}
    usual = statistics.median(means.values()) if means else None
    cvs = [target.cv for target in timed if target.cv is not None]
    return WorkloadModel(
        rate_per_s=figures.rate_per_s,
        clients=len(counts),
        skew=fit_zipf(counts),
        burstiness=burstiness_of(trace),
        sessions=session_lengths(trace.table),
        distribution=nearest_distribution(statistics.median(cvs) if cvs else 1.0),
        service_ms=usual,
        slow={name: mean / usual for name, mean in means.items() if usual and mean >= SLOW_TIMES * usual},
    )


def nearest_distribution(cv: float) -> str:
    """Return the service-time distribution whose coefficient of variation is nearest to `cv`."""
    lognormal = math.sqrt(math.e - 1)  # services.service_time.LOGNORMAL_SIGMA is 1
    known = {"constant": 0.0, "exponential": 1.0, "lognormal": lognormal}
    return min(known, key=lambda name: abs(known[name] - cv))


def burstiness_of(trace: Trace) -> Burstiness:
    """Return the burstiness of all arrivals together."""
    times = trace.table["time_unix_ns"]
    found = {}
    for seconds in _COUNTED_S:
        windows = int(trace.span_s // seconds)
        if MIN_WINDOWS <= windows <= MAX_WINDOWS:
            numbers = ((times - trace.start_ns) // round(seconds * 1e9)).to_numpy()
            counts = np.bincount(numbers[numbers < windows], minlength=windows)
            found[seconds] = float(counts.var() / counts.mean())
    gaps = np.diff(times.to_numpy())
    spread = len(gaps) > 1 and gaps.any()
    return Burstiness(found, float(gaps.std() / gaps.mean()) if spread else None)


def session_lengths(table: pl.DataFrame) -> SessionLengths | None:
    """Return the lengths of the sessions. table: of a Trace. None where clients cannot be told apart."""
    key = pl.coalesce("session", "client") if "session" in table.columns else pl.col("client")
    pause = round(SESSION_PAUSE_S * 1e9)
    lengths = (
        table.lazy()
        .select(key.alias("key"), "time_unix_ns")
        .filter(pl.col("key").is_not_null())
        .sort("key", "time_unix_ns")
        .with_columns(
            (
                (pl.col("key") != pl.col("key").shift()) | (pl.col("time_unix_ns").diff() > pause)
            ).fill_null(True).cum_sum().alias("session")
        )
        .group_by("session")
        .agg(
            pl.len().alias("requests"),
            ((pl.col("time_unix_ns").max() - pl.col("time_unix_ns").min()) / 1e9).alias("seconds"),
        )
        .collect()
    )  # fmt: skip
    if not lengths.height:
        return None
    return SessionLengths(
        count=lengths.height,
        mean_requests=float(lengths["requests"].sum()) / lengths.height,
        requests=reported_percentiles(lengths["requests"]),
        seconds=reported_percentiles(lengths["seconds"]),
    )
