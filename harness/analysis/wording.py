"""Figures and intervals in words, so that the reader sees on which side of a bound each figure is."""

from __future__ import annotations

import math

from harness.analysis.statistics import Interval
from harness.metrics.figures import show

MOST_DIGITS = 17  # tell any two floats apart


def shown_apart(value: float, bound: float | None = None, unit: str = "") -> str:
    """Return `value` as people read it, with more digits where it would otherwise read like `bound`."""
    if math.isinf(value):
        return "infinity"
    text = show(value, unit)
    if bound is None or value == bound or math.isinf(bound):
        return text
    figure = show(value)
    digits = max(5, len(f"{abs(value):.0f}") + 1)
    while _reads_as(figure) == _reads_as(show(bound)) and digits <= MOST_DIGITS:
        figure = f"{value:,.{digits}g}"
        digits += 1
    return text.replace(show(value), figure, 1)


def interval_in_words(interval: Interval, bound: float | None = None) -> str:
    """Return "2.7 to 3.4", each end told apart from the bound; one figure where both ends read alike."""
    low, high = (shown_apart(end, bound) for end in (interval.low, interval.high))
    return low if low == high else f"{low} to {high}"


def _reads_as(figure: str) -> float:
    return float(figure.replace(",", ""))
