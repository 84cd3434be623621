"""What a metric is: a unit, a meaning and a pure function of a cell's facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.metrics.spread import Number

if TYPE_CHECKING:
    from harness.metrics.facts import CellFacts

NS_PER_MS = 1e6

Compute = Callable[["CellFacts"], Number]


@dataclass(frozen=True)
class Metric:
    """`compute` gives the metric of one cell in `unit`, or None where it is not defined there."""

    unit: str
    meaning: str
    compute: Compute


def in_ms(ns: Number) -> Number:
    """Nanoseconds as milliseconds."""
    return None if ns is None else ns / NS_PER_MS


def share(part: float, whole: float) -> Number:
    """`part` of `whole`; None of nothing."""
    return part / whole if whole else None
