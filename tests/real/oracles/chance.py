"""Binomial confidence intervals."""

import math


def within_binomial(hits: int, draws: int, share: float, confidence: float = 0.999) -> bool:
    """Return whether `hits` of `draws` are in the exact two-sided binomial interval for `share`."""
    tail = (1 - confidence) / 2
    fewer = sum(_probability(number, draws, share) for number in range(hits + 1))
    more = sum(_probability(number, draws, share) for number in range(hits, draws + 1))
    return min(fewer, more) >= tail


def _probability(hits: int, draws: int, share: float) -> float:
    ways = math.lgamma(draws + 1) - math.lgamma(hits + 1) - math.lgamma(draws - hits + 1)
    return math.exp(ways + hits * math.log(share) + (draws - hits) * math.log(1 - share))
