"""The measured window over time: who answered how much, and how busy the replicas were."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

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


def window_width_s(duration_s: float, most: int = MOST_WINDOWS) -> float:
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
