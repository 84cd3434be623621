"""What a metric is, the arithmetic that metrics share, and figures in words for people."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from harness.metrics.facts import CellFacts


Number = float | None


def mean_of(counts: Sequence[int]) -> float:
    """Return the mean of the counts; 0 without counts."""
    return sum(counts) / len(counts) if counts else 0.0


def max_over_mean(counts: Sequence[int]) -> Number:
    """Return the busiest replica's requests / fair share: 1 is even, len(counts) means all on one replica."""
    return max(counts) / mean_of(counts) if sum(counts) else None


def cv(counts: Sequence[int]) -> Number:
    """Return the coefficient of variation: population standard deviation / mean; 0 is even."""
    if not sum(counts):
        return None
    mean = mean_of(counts)
    return math.sqrt(sum((count - mean) ** 2 for count in counts) / len(counts)) / mean


def effective_replicas(counts: Sequence[int]) -> Number:
    """Return 1 / sum(share^2), in [1, len(counts)].

    This is the inverse Simpson index (E. H. Simpson, Nature 163, 1949).
    """
    total = sum(counts)
    return total**2 / sum(count**2 for count in counts) if total else None


def jain(counts: Sequence[int]) -> Number:
    """Return Jain's fairness index, effective_replicas / n, in [1/n, 1].

    Source: Jain, Chiu, Hawe, DEC TR-301, 1984.
    """
    effective = effective_replicas(counts)
    return None if effective is None else effective / len(counts)


def max_off_fair(counts: Sequence[int]) -> Number:
    """Return the largest distance of a replica's requests from the fair share, in requests."""
    mean = mean_of(counts)
    return max(abs(count - mean) for count in counts) if sum(counts) else None


def chi2_survival(x: float, degrees: int) -> float:
    """Return P(X >= x) of a chi-square variable X with `degrees` degrees of freedom, a whole number from 1.

    Closed forms 26.4.4 (odd) and 26.4.5 (even) of Abramowitz and Stegun, Handbook of Mathematical
    Functions, 1964. Each term is computed from logarithms, so that large x does not overflow.
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
    """Return the p-value of Pearson's chi-square test for "each replica is equally likely to get a request".

    None without requests, or for less than two replicas.
    """
    if not sum(counts) or len(counts) < 2:
        return None
    mean = mean_of(counts)
    return chi2_survival(sum((count - mean) ** 2 for count in counts) / mean, len(counts) - 1)


MAX_WINDOWS = 30  # of ReplicaSeries
MAX_STEPS = 80  # of WindowSeries


def window_width_s(duration_s: float, max_windows: int = MAX_WINDOWS) -> float:
    """Return the width (s) of time windows that cut `duration_s` into `max_windows` or less.

    It is the smallest such number of ..., 0.1, 0.2, 0.5, 1, 2, 5, ...
    """
    smallest = duration_s / max_windows
    power = 10.0 ** math.floor(math.log10(smallest))
    return next(width for step in (1, 2, 5, 10) if (width := step * power) >= smallest * (1 - 1e-9))


def steps_of(duration_s: float) -> int:
    """Return the number of steps of WindowSeries."""
    return math.ceil(round(duration_s / window_width_s(duration_s, MAX_STEPS), 6))


# Percentile -> the share of the values that are not larger.
RANKS = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999, "max": 1.0}


def min_values(rank: float) -> int:
    """Return how many values a percentile needs to be reported; 1 for the maximum.

    It is the smallest n such that the true percentile lies between the smallest and the largest of n
    independent values with a probability of 95 % or more: 1 - rank^n - (1 - rank)^n >= 0.95. With fewer
    values there is no 95 % confidence interval for it at all. Source: H. A. David, H. N. Nagaraja, Order
    Statistics, 3rd edition, 2003, section 7.1 (intervals for quantiles, whatever the distribution).
    """
    return 1 if rank == 1 else next(n for n in count(2) if rank**n + (1 - rank) ** n <= 0.05)


MIN_VALUES = {name: min_values(rank) for name, rank in RANKS.items()}


def percentile_of(metric: str) -> str | None:
    """Return the percentile that a metric's name has, "p99" of "latency_ms.p99"; None without one."""
    return next((part for part in re.split(r"[._]", metric) if MIN_VALUES.get(part, 1) > 1), None)


def reported(percentiles: Mapping[str, float], values: int) -> dict[str, float]:
    """Return those of the percentiles of `values` values that are reported: see min_values."""
    return {name: value for name, value in percentiles.items() if values >= MIN_VALUES[name]}


# The names of ratios, shares and indices say what they are.
SHOWN_UNITS = {
    *("us", "ms", "bytes", "requests", "requests/s", "replicas", "sessions", "connections", "streams"),
    *("messages", "breaks"),
}


def show(value: Number, unit: str = "") -> str:
    """Return a figure as text: about four digits, and its unit unless it is a ratio."""
    if value is None:
        return "not measured"
    if math.isinf(value):
        return "infinity"
    text = f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"
    if text in ("0", "1") and value != int(value):
        text = f"{value:.7g}"  # 0.99998 misses a bound of 1, and must not read as 1
    return f"{text} {unit}" if unit in SHOWN_UNITS else text


NS_PER_MS = 1e6

Compute = Callable[["CellFacts"], Number]


# What can spoil a metric in a cell whose record is sound. `counts`: nothing; where answers came from does not
# depend on how punctual the generator was. `times`: another rate of sends than planned; late sending adds at
# most the generator's lag. `load`: both; such a metric says what the replicas made of the planned load.
Sort = Literal["counts", "times", "load"]


@dataclass(frozen=True)
class Metric:
    """One metric. `compute` returns its value for one cell in `unit`, or None where it is not defined.

    `meaning` stands in results/README.md: one line of Markdown. `lag_rank`: of a metric of the sort `times`,
    the rank of the generator's lag that it may contain. `one_event`: by how much a single event would have
    moved the value, where the metric counts events. `at_least`: of a metric that may be
    infinity, what its value is at least. `headline`: its name for people, "p99 latency"; "": its dotted name
    in words. `clause`: what it says of an arm, with {} for the figure; "": "the <headline> was {}".
    """

    unit: str
    meaning: str
    compute: Compute
    sort: Sort = "load"
    lag_rank: str = "p99"
    one_event: Compute | None = None
    at_least: Compute | None = None
    headline: str = ""
    clause: str = ""


def in_ms(ns: Number) -> Number:
    """Return nanoseconds as milliseconds; None for None."""
    return None if ns is None else ns / NS_PER_MS


def share(part: float, whole: float) -> Number:
    """Return `part` / `whole`; None if `whole` is 0."""
    return part / whole if whole else None
