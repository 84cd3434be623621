"""Percentiles, medians and measures of spread, from their definitions."""

import math
from collections.abc import Sequence

# Values that a percentile needs at least, in thousandths (results/README.md, Metrics).
MIN_VALUES = {500: 6, 900: 29, 950: 59, 990: 299, 999: 2995}
NAMES = {500: "p50", 900: "p90", 950: "p95", 990: "p99", 999: "p999", 1000: "max"}


def percentile(values: Sequence[float], thousandths: int) -> float | None:
    """Return the nearest-rank percentile; None where there are too few values, or where it is infinite."""
    if len(values) < MIN_VALUES.get(thousandths, 1):
        return None
    value = nearest_rank(values, thousandths)
    return None if math.isinf(value) else value


def nearest_rank(values: Sequence[float], thousandths: int) -> float:
    """Return the smallest value that is at least as large as that part of the values."""
    return sorted(values)[math.ceil(len(values) * thousandths / 1000) - 1]


def median(values: Sequence[float]) -> float | None:
    """Return the middle value, or the mean of the two in the middle; None of no values."""
    if not values:
        return None
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def max_over_mean(counts: Sequence[float]) -> float | None:
    """Return the busiest's count / the fair share; None where there is nothing to share."""
    total = sum(counts)
    return max(counts) * len(counts) / total if total else None


def coefficient_of_variation(counts: Sequence[float]) -> float | None:
    """Return the standard deviation of the whole population / the mean."""
    if not sum(counts):
        return None
    average = sum(counts) / len(counts)
    return math.sqrt(math.fsum((count - average) ** 2 for count in counts) / len(counts)) / average


def effective_number(counts: Sequence[float]) -> float | None:
    total = sum(counts)
    return 1 / math.fsum((count / total) ** 2 for count in counts) if total else None


def chi_square_p(counts: Sequence[float]) -> float | None:
    """Return the probability that equally likely cells are at least as uneven as these (Pearson)."""
    total, cells = sum(counts), len(counts)
    if not total or cells < 2:
        return None
    fair = total / cells
    statistic = math.fsum((count - fair) ** 2 for count in counts) / fair
    return chi_square_tail(statistic, cells - 1)


def chi_square_tail(statistic: float, degrees: int) -> float:
    """Return P(chi-square > statistic) for whole degrees of freedom.

    Abramowitz and Stegun (1964), 26.4.4 and 26.4.5: finite sums.
    """
    half = statistic / 2
    if degrees % 2 == 0:
        term, total = 1.0, 1.0
        for step in range(1, degrees // 2):
            term *= half / step
            total += term
        return math.exp(-half) * total
    tail = math.erfc(math.sqrt(half))
    term = math.sqrt(2 * statistic / math.pi) * math.exp(-half)
    for step in range(1, degrees // 2 + 1):
        tail += term
        term *= statistic / (2 * step + 1)
    return tail
