"""How many repeats an experiment makes, and how strict each look at the repeats so far must be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from harness.analysis.student_t import t_quantile

# Chance that a true bound is outside the interval on one given side. Two sides: a 95 % interval. That is half
# of what the lab promises for a wrong `held` and for a wrong `refuted` (5 % each); the other half is for
# repeats that are not normal.
TAIL = 0.025
FEWEST = 2  # repeats with an interval
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
