"""The confidence interval of a metric over repeats.

What is estimated is the typical repeat: the median of all repeats that could have been made. The repeat is
the unit that is replicated. Requests of one cell share their arrivals, their placement and their machine;
to count them as independent would be pseudoreplication (S. H. Hurlbert, Ecological Monographs 54, 1984; for
computer systems: T. Kalibera and R. Jones, Rigorous benchmarking in reasonable time, ISMM 2013).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from harness.analysis.sequential import FEWEST, TAIL, Repeats, tail_at_each_look
from harness.analysis.student_t import t_quantile

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
    Values that are the same in each repeat give an interval of no length.
    """
    ordered = sorted(values)
    if len(ordered) < FEWEST:
        raise ValueError(f"an interval takes {FEWEST} repeats at least, and there are {len(ordered)}")
    if ordered[0] == ordered[-1]:
        return Interval(ordered[0], ordered[0])
    on_logs = ordered[0] > 0
    scaled = [math.log(value) for value in ordered] if on_logs else ordered
    mean, deviation = _mean_and_deviation(scaled)
    quantile = t_quantile(1 - tail_at_each_look(repeats), len(scaled) - 1)
    half = quantile * deviation / math.sqrt(len(scaled))
    t_interval = Interval(_back(mean - half, on_logs), _back(mean + half, on_logs))
    rank = _rank(len(ordered))
    return t_interval.hull(ordered[rank - 1], ordered[-rank])


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
