"""How unevenly amounts are spread over replicas: pure arithmetic on one amount per replica."""

from __future__ import annotations

import math
from collections.abc import Sequence

Number = float | None


def mean_of(counts: Sequence[int]) -> float:
    """Mean of per-replica counts; 0 for none."""
    return sum(counts) / len(counts) if counts else 0.0


def max_over_mean(counts: Sequence[int]) -> Number:
    """Busiest replica's requests / fair share: 1 is even, len(counts) is all on one."""
    return max(counts) / mean_of(counts) if sum(counts) else None


def cv(counts: Sequence[int]) -> Number:
    """Coefficient of variation: population standard deviation / mean."""
    if not sum(counts):
        return None
    mean = mean_of(counts)
    return math.sqrt(sum((count - mean) ** 2 for count in counts) / len(counts)) / mean


def effective_replicas(counts: Sequence[int]) -> Number:
    """1 / sum(share^2), in [1, len(counts)]: the inverse Simpson index (E. H. Simpson, Nature 163, 1949)."""
    total = sum(counts)
    return total**2 / sum(count**2 for count in counts) if total else None


def jain(counts: Sequence[int]) -> Number:
    """Jain's fairness index, effective_replicas / n, in [1/n, 1] (Jain, Chiu, Hawe, DEC TR-301, 1984)."""
    effective = effective_replicas(counts)
    return None if effective is None else effective / len(counts)


def max_off_fair(counts: Sequence[int]) -> Number:
    """Largest distance of a replica's requests from the fair share, in requests."""
    mean = mean_of(counts)
    return max(abs(count - mean) for count in counts) if sum(counts) else None


def chi2_survival(x: float, degrees: int) -> float:
    """P(X >= x) of a chi-square variable X with a whole number of degrees of freedom, at least 1.

    Closed forms 26.4.4 (odd) and 26.4.5 (even) of Abramowitz and Stegun, Handbook of Mathematical
    Functions, 1964. Terms are added as logarithms, so that large x does not overflow.
    """
    half = x / 2
    if half <= 0:
        return 1.0
    first = 0.5 if degrees % 2 else 0.0
    powers = (first + k for k in range(degrees // 2))
    terms = sum(math.exp(power * math.log(half) - half - math.lgamma(power + 1)) for power in powers)
    tail = math.erfc(math.sqrt(half)) if degrees % 2 else 0.0
    return min(1.0, tail + terms)


def chi2_p(counts: Sequence[int]) -> Number:
    """P-value of Pearson's chi-square test that every replica is equally likely to get a request."""
    if not sum(counts) or len(counts) < 2:
        return None
    mean = mean_of(counts)
    return chi2_survival(sum((count - mean) ** 2 for count in counts) / mean, len(counts) - 1)
