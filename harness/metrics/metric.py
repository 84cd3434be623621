"""A metric: a unit, a meaning and a pure function of a cell's facts."""

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
    """One metric. `compute` returns its value for one cell in `unit`, or None where it is not defined.

    `meaning` stands in results/README.md: one line of Markdown.
    """

    unit: str
    meaning: str
    compute: Compute


def in_ms(ns: Number) -> Number:
    """Return nanoseconds as milliseconds; None for None."""
    return None if ns is None else ns / NS_PER_MS


def share(part: float, whole: float) -> Number:
    """Return `part` / `whole`; None if `whole` is 0."""
    return part / whole if whole else None
