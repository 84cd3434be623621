"""Percentiles, confidence intervals over repeats, and how many repeats an experiment makes."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from harness.metrics.metric import RANKS, reported

STEPS = 80  # halvings: more than a double has bits


def t_cdf(t: float, degrees: int) -> float:
    """Return P(T <= t) for Student's T with `degrees` degrees of freedom, at least 1.

    Closed forms 26.7.3 (odd) and 26.7.4 (even) of Abramowitz and Stegun, Handbook of Mathematical
    Functions, 1964.
    """
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2 == 1
    term = cosine if odd else 1.0
    total = term if degrees > 1 else 0.0
    for k in range(2 if odd else 1, degrees - 2, 2):
        term *= cosine * cosine * k / (k + 1)
        total += term
    central = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return (1 + central) / 2


@cache
def t_quantile(probability: float, degrees: int) -> float:
    """Return the t with P(T <= t) = `probability`, which is above one half and below 1."""
    low, high = 0.0, 1.0
    while t_cdf(high, degrees) < probability:
        low, high = high, high * 2
    for _ in range(STEPS):
        middle = (low + high) / 2
        if t_cdf(middle, degrees) < probability:
            low = middle
        else:
            high = middle
    return high


# Chance that a true bound is outside the interval on one given side. Two sides: a 95 % interval. That is half
# of what the lab promises for a wrong `held` and for a wrong `refuted` (5 % each); the other half is for
# repeats that are not normal.
TAIL = 0.025
FEWEST = 2  # repeats with an interval
FEWEST_OF_RANKS = 6  # repeats with a 95 % interval for every distribution
SIMULATED_VALUES = 2_000_000
SEED = 12


@dataclass(frozen=True)
class Repeats:
    """An experiment makes `least` repeats at least, and more until all is decided or there are `most`.

    Nothing is looked at before repeat `least`; after it, every repeat is followed by a look.
    """

    least: int
    most: int

    @property
    def looks(self) -> tuple[int, ...]:
        """Numbers of repeats after which an interval is computed."""
        return tuple(range(max(FEWEST, self.least), self.most + 1))


def tail_at_each_look(repeats: Repeats) -> float:
    """Return the tail probability with which the interval of each single look is computed.

    With one look that is TAIL. With more it is smaller: the chance that the interval of *any* look misses
    the true value is to be 2 x TAIL, whenever the run stops. Intervals with that property are repeated
    confidence intervals (C. Jennison and B. W. Turnbull, Interim analyses: the repeated confidence interval
    approach, Journal of the Royal Statistical Society B 51, 1989). Every look has the same tail, as in S. J.
    Pocock, Group sequential methods in the design and analysis of clinical trials, Biometrika 64, 1977.
    Pocock's levels are for a known variance. Here they are found for Student's t itself, by simulating its
    values at all looks for normal repeats; their distribution depends on nothing unknown.
    """
    looks = repeats.looks
    return TAIL if len(looks) < 2 else _same_tail(looks)


@cache
def _same_tail(looks: tuple[int, ...]) -> float:
    import numpy as np  # not needed where every experiment has a fixed number of repeats

    most = looks[-1]
    # RandomState's stream never changes (NumPy enhancement proposal 19), so neither does a verdict.
    random = np.random.RandomState(SEED)
    values = random.standard_normal((SIMULATED_VALUES // most, most))
    repeats = np.arange(1, most + 1)
    mean = values.cumsum(axis=1) / repeats
    squares = (values**2).cumsum(axis=1) - repeats * mean**2
    sizes = {n: abs(mean[:, n - 1]) * np.sqrt(n * (n - 1) / squares[:, n - 1]) for n in looks}
    low, high = 0.0, TAIL
    for _ in range(16):
        tail = (low + high) / 2
        missed = np.zeros(len(values), dtype=bool)
        for n, size in sizes.items():
            missed |= size > t_quantile(1 - tail, n - 1)
        if missed.mean() > 2 * TAIL:
            high = tail
        else:
            low = tail
    return low


def percentiles(values: pl.Series) -> dict[str, float]:
    """Return the percentile for each of RANKS; an empty dict without values.

    A nearest-rank percentile is the smallest value such that at least this share of the values is not larger.
    """
    count = len(values)
    if count == 0:
        return {}
    index_of = {name: math.ceil(round(rank * count, 6)) - 1 for name, rank in RANKS.items()}
    ordered = np.partition(values.to_numpy(), sorted(set(index_of.values())))
    return {name: float(ordered[index]) for name, index in index_of.items()}


def reported_percentiles(values: pl.Series) -> dict[str, float]:
    """Return the percentiles that are reported: see min_values."""
    return reported(percentiles(values), len(values))


MOST_REPEATS = 100  # that an experiment may make


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`, both included."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def hull(self, low: float, high: float) -> Interval:
        """Return the smallest interval that has this one and `low` to `high` in it."""
        return Interval(min(self.low, low), max(self.high, high))


def interval_over_repeats(values: Sequence[float], repeats: Repeats) -> Interval:
    """Return the 95 % confidence interval of the typical repeat, from one value a repeat (two at least).

    It is the hull of two intervals, so that it is right where either of them is:
    - Student's t interval, of the logarithms where all values are positive: figures of this lab vary by
      factors, and the mean of the logarithms is then closer to the median. (Student, The probable error of
      a mean, Biometrika 6, 1908.)
    - the interval between order statistics that the sign test gives for the median, whatever the
      distribution (W. R. Thompson, Annals of Mathematical Statistics 7, 1936). Fewer than six repeats
      cannot give 95 %; then it is their range (five: 94 %, four: 88 %, three: 75 %).
    Values that are the same in each repeat give an interval of no length. With infinite values among
    them (a percentile that falls on failed requests) there is no mean, and only the second interval. Fewer
    than six such repeats exclude nothing.
    """
    ordered = sorted(values)
    if len(ordered) < FEWEST:
        raise ValueError(f"an interval takes {FEWEST} repeats at least, and there are {len(ordered)}")
    if ordered[0] == ordered[-1]:
        return Interval(ordered[0], ordered[0])
    rank = _rank(len(ordered))
    of_ranks = Interval(ordered[rank - 1], ordered[-rank])
    if math.isinf(ordered[-1]):
        return of_ranks if len(ordered) >= FEWEST_OF_RANKS else Interval(0.0, math.inf)
    on_logs = ordered[0] > 0
    scaled = [math.log(value) for value in ordered] if on_logs else ordered
    mean, deviation = _mean_and_deviation(scaled)
    quantile = t_quantile(1 - tail_at_each_look(repeats), len(scaled) - 1)
    half = quantile * deviation / math.sqrt(len(scaled))
    t_interval = Interval(_back(mean - half, on_logs), _back(mean + half, on_logs))
    return t_interval.hull(of_ranks.low, of_ranks.high)


def ratio_interval(before: Sequence[float], after: Sequence[float]) -> Interval | None:
    """Return the 95 % confidence interval of after / before, from independent repeats of two runs.

    None: a run has fewer than FEWEST values, or one that is not positive, or infinity. Welch's t interval of
    the difference of the means of the logarithms, with Satterthwaite's degrees of freedom, rounded down (B.
    L. Welch, The generalization of Student's problem when several different population variances are
    involved, Biometrika 34, 1947).
    """
    values = [*before, *after]
    if min(len(before), len(after)) < FEWEST or min(values) <= 0 or math.isinf(max(values)):
        return None
    (one, s1), (other, s2) = (_mean_and_deviation([math.log(v) for v in run]) for run in (before, after))
    v1, v2 = s1**2 / len(before), s2**2 / len(after)
    if v1 + v2 == 0:
        return Interval(math.exp(other - one), math.exp(other - one))
    degrees = (v1 + v2) ** 2 / (v1**2 / (len(before) - 1) + v2**2 / (len(after) - 1))
    half = t_quantile(1 - TAIL, max(1, math.floor(degrees + 1e-9))) * math.sqrt(v1 + v2)
    return Interval(_back(other - one - half, on_logs=True), _back(other - one + half, on_logs=True))


@cache
def poisson_limits(events: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of an expected number of events, of which `events` were seen.

    Exact limits of F. Garwood, Fiducial limits for the Poisson distribution, Biometrika 28, 1936. With no
    event the upper one is 3.7 (the "rule of three" at 97.5 %). They are right for events that happen
    independently; where events come in bursts their number varies more.
    """
    low = 0.0 if events == 0 else _crossing(lambda mean: 1 - _poisson_cdf(events - 1, mean) > TAIL)
    return low, _crossing(lambda mean: _poisson_cdf(events, mean) < TAIL)


def share_of_repeats_not_excluded(repeats: int) -> float:
    """Return how often an exception may happen, in share of repeats, when `repeats` had none (95 %)."""
    return 1 - math.pow(2 * TAIL, 1 / repeats)


def repeats_needed(values: Sequence[float], bound: float, steps: Sequence[float] = ()) -> int | None:
    """Return about how many repeats would decide, if they vary as these do. None: more than can be made.

    `steps`: what one event is worth in each repeat, for values that do not vary because none was seen.
    """
    on_logs = min(values) > 0 and bound > 0
    scaled = [math.log(value) if on_logs else value for value in values]
    mean, deviation = _mean_and_deviation(scaled)
    distance = abs(mean - (math.log(bound) if on_logs else bound))
    step = math.fsum(steps) / len(steps) if steps and not deviation else 0.0

    def decides(count: int) -> bool:
        half = t_quantile(1 - TAIL, count - 1) * deviation / math.sqrt(count)
        return half + poisson_limits(0)[1] / count * step < distance

    counts = range(len(values) + 1, MOST_REPEATS + 1)
    place = bisect_left(counts, True, key=decides)
    return counts[place] if place < len(counts) else None


def _poisson_cdf(events: int, mean: float) -> float:
    logs = (number * math.log(mean) - mean - math.lgamma(number + 1) for number in range(events + 1))
    return math.fsum(math.exp(log) for log in logs)


def _crossing(is_beyond: Callable[[float], bool]) -> float:
    """Return the positive number beyond which `is_beyond` is true."""
    low, high = 0.0, 1.0
    while not is_beyond(high):
        low, high = high, high * 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if is_beyond(middle) else (middle, high)
    return high


def _back(value: float, on_logs: bool) -> float:
    # A wide interval of logarithms may end beyond what a float can be.
    return value if not on_logs else math.exp(value) if value < 700 else math.inf


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _rank(count: int) -> int:
    """Return k: from the k-th smallest to the k-th largest value is the sign test's interval; 1 at least."""
    rank, below = 0, 0.0
    while (below := below + math.comb(count, rank) / 2**count) <= TAIL:
        rank += 1
    return max(rank, 1)
