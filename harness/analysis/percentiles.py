"""Nearest-rank percentiles: the percentiles that the lab reports."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

RANKS = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999, "max": 1.0}


def percentiles(values: pl.Series) -> dict[str, float]:
    """Return the percentile for each of RANKS; an empty dict without values.

    A nearest-rank percentile is the smallest value such that at least this share of the values is not larger.
    """
    count = len(values)
    if count == 0:
        return {}
    index_of = {name: math.ceil(round(rank * count, 6)) - 1 for name, rank in RANKS.items()}
    ordered = np.partition(values.to_numpy(), sorted(set(index_of.values())))
    return {name: float(ordered[index]) for name, index in index_of.items()}
