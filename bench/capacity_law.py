"""The law of growth: cores = a + b * calls/s + c * clients, fitted to measured points of one process."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

LAG_LIMIT_MS = 50.0
LEAST_SENT_SHARE = 0.99
ROUNDS_OF_FIT = 10
LEAST_CORES = 1e-4  # so that no weight is without bounds
KINDS = ("load", "envoy", "replica")
Measured = Mapping[str, Any]


@dataclass(frozen=True)
class Use:
    """What one process used at one point: `clients` are those with a connection to it."""

    calls_per_s: float
    clients: int
    cores: float


@dataclass(frozen=True)
class Law:
    """Fitted. idle_cores: a; us_per_call: b; us_per_client: c, CPU us a second for each client.

    c is 0 where all points have the same number of clients: a has their part.
    """

    idle_cores: float
    us_per_call: float
    us_per_client: float

    def cores(self, calls_per_s: float, clients: float) -> float:
        """Of one process, by the law."""
        return self.idle_cores + (self.us_per_call * calls_per_s + self.us_per_client * clients) / 1e6


@dataclass(frozen=True)
class Spread:
    """Over the rounds of one point."""

    middle: float
    least: float
    most: float


def spread(values: Iterable[float]) -> Spread:
    """Median, least and most. Raises statistics.StatisticsError without a value."""
    several = list(values)
    return Spread(median(several), min(several), max(several))


def kept(measured: Measured) -> bool:
    """Whether a load process kept its plan: nearly all was sent within the window, and sent in time."""
    return bool(
        measured["sent_share"] >= LEAST_SENT_SHARE
        and measured["lag_p99_ms"] <= LAG_LIMIT_MS
        and measured["failed"] == 0
    )


def uses(points: Sequence[Measured], kind: str, *, alone: bool) -> list[Use]:
    """What one process of a kind used, alone or in a whole cell, wherever it was not overtaxed.

    In a cell a load process counts behind a proxy only, where a client has one connection.
    """
    found = []
    for point in points:
        if kind not in point["cores"] or alone != (point["what"] != "lab"):
            continue
        if point["rate_per_s"] == 0 or not kept({**_FINE, **point}):
            continue
        if kind == "load" and not alone and point["route"] == "direct":
            continue
        # Round robin: every replica gets its part; behind Envoy it has Envoy's connection alone.
        share = point["replicas"] if kind == "replica" and not alone else 1
        clients = 1 if kind == "replica" and point["route"] == "envoy" else point["clients"]
        found.append(Use(point["calls_per_s"] / share, clients, point["cores"][kind]))
    return found


_FINE = {"sent_share": 1.0, "lag_p99_ms": 0.0, "failed": 0}


def fit(found: Sequence[Use]) -> Law:
    """Least squares of the relative errors: 10 % counts alike at 100 calls/s and at 10,000."""
    several = len({use.clients for use in found}) > 1
    columns = np.array([[1.0, use.calls_per_s / 1e6, several * use.clients / 1e6] for use in found])
    cores = np.array([use.cores for use in found])
    expected = cores
    for _ in range(ROUNDS_OF_FIT):  # relative to the law, which is not known before
        terms, *_ = np.linalg.lstsq(columns / expected[:, None], cores / expected, rcond=None)
        expected = np.maximum(columns @ terms, LEAST_CORES)
    return Law(*map(float, terms))


def residuals(law: Law, found: Sequence[Use]) -> list[float]:
    """By how much each point is off the law, relative to the law: 0.1 is 10 % above."""
    return [use.cores / law.cores(use.calls_per_s, use.clients) - 1 for use in found]


def line(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """(at zero, per unit) of the straight line through the points, by least squares."""
    slope, start = np.polyfit(xs, ys, 1)
    return float(start), float(slope)
