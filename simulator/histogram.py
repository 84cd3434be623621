"""Quantiles of very many values in little memory: counts in buckets whose bounds grow by 1 %.

Source: C. Masson, J. Rim, H. Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error
Guarantees", VLDB 2019.
"""

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from simulator.compiled import compiled

Counts: TypeAlias = npt.NDArray[np.int64]

GROWTH = 1.01  # of the buckets' bounds: a quantile is wrong by 0.5 % at most
SMALLEST_S = 1e-6  # shorter times count as this
LARGEST_S = 1e7
_SCALE = 1 / math.log(GROWTH)
BUCKETS = math.ceil(math.log(LARGEST_S / SMALLEST_S) * _SCALE) + 1


def new_counts() -> Counts:
    """Return an empty histogram, (BUCKETS,). Histograms are merged by adding them."""
    return np.zeros(BUCKETS, np.int64)


@compiled
def count(counts: Counts, value_s: float) -> None:
    """Count one time in seconds."""
    bucket = int(math.log(value_s / SMALLEST_S) * _SCALE) if value_s > SMALLEST_S else 0
    counts[min(bucket, len(counts) - 1)] += 1


def quantile_s(counts: Counts, share: float) -> float:
    """Return the time below which this share of the counted times lies, in seconds; NaN without any."""
    total = int(counts.sum())
    if not total:
        return math.nan
    bucket = int(np.searchsorted(np.cumsum(counts), max(1, math.ceil(share * total))))
    return SMALLEST_S * math.sqrt(GROWTH) * GROWTH**bucket
