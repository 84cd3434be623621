"""Percentiles by nearest rank, the ones that the lab tells."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

RANKS = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999, "max": 1.0}


def percentiles(values: pl.Series) -> dict[str, float]:
    """RANKS of `values` by nearest rank: the smallest value that at least this share does not exceed."""
    count = len(values)
    if count == 0:
        return {}
    places = {name: math.ceil(round(rank * count, 6)) - 1 for name, rank in RANKS.items()}
    placed = np.partition(values.to_numpy(), sorted(set(places.values())))
    return {name: float(placed[place]) for name, place in places.items()}
