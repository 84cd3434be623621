"""Where a search looks next, and what it has found. Pure.

The search takes for granted that the condition holds below some value of the factor and fails above it. It
begins around a guess, goes on in growing steps until it has a value at which the condition held and a higher
one at which it did not, and then bisects between them, on a log scale.

A cell may not be able to say whether the condition held: it was disturbed, or the generator's lag decides.
Its value is undecided. The search then narrows the gaps below and above the undecided values.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

# Value of the factor -> whether the condition held there; None: the cell cannot say.
Outcomes = Mapping[float, bool | None]

UNKNOWN_STEP = 0.5  # first step, as a share of the guess, where nothing is predicted
LEAST_CELLS = 2  # that an arm takes in one repeat: one at which the condition holds, one at which it does not
MAX_UNDECIDED = 2  # at an open end: more cells there would hardly fare better
DIGITS = 3  # of a value
MAX_VALUE = 100_000.0  # a rate per second that an experiment may have
_ROUNDING = 1.006  # how far two values may be further apart than asked, because both are rounded


@dataclass(frozen=True)
class Bracket:
    """Where the highest value lies at which the condition holds.

    low: the condition held there; 0: it held nowhere. high: it did not hold there; infinity: it failed
    nowhere.
    """

    low: float
    high: float

    @property
    def is_closed(self) -> bool:
        """Whether both ends were found."""
        return self.low > 0 and math.isfinite(self.high)

    @property
    def middle(self) -> float:
        """The value halfway between both ends, on a log scale; an open bracket has only its one end."""
        if self.is_closed:
            return math.sqrt(self.low * self.high)
        return self.low if self.low > 0 else self.high

    def is_within(self, share: float) -> bool:
        """Return whether the ends are at most this share apart."""
        return self.is_closed and self.high <= self.low * (1 + share) * _ROUNDING


def bracket_of(outcomes: Outcomes) -> Bracket:
    """Return the bracket. Where outcomes contradict each other it has all the values in it that do."""
    held = [value for value, outcome in outcomes.items() if outcome is True]
    failed = [value for value, outcome in outcomes.items() if outcome is False]
    low = max((value for value in held if value < min(failed, default=math.inf)), default=0.0)
    high = min((value for value in failed if value > max(held, default=0.0)), default=math.inf)
    return Bracket(low, high)


def contradiction_of(outcomes: Outcomes) -> tuple[float, float] | None:
    """Return the lowest value at which the condition failed, and a higher one at which it held, or None."""
    held = max((value for value, outcome in outcomes.items() if outcome is True), default=0.0)
    failed = min((value for value, outcome in outcomes.items() if outcome is False), default=math.inf)
    return (failed, held) if failed < held else None


def next_value(outcomes: Outcomes, guess: float, within: float, first_step: float) -> float | None:
    """Return the value to measure next; None: the search has ended.

    guess: where the limit is expected. within: how far the ends may be apart, as a share. first_step: of the
    guess, as a share; an interval of that length around the guess is tried first.
    """
    if not outcomes:
        return _usable(guess / math.sqrt(1 + first_step), outcomes)
    bracket = bracket_of(outcomes)
    undecided = sorted(
        value for value, held in outcomes.items() if held is None and bracket.low < value < bracket.high
    )
    if not bracket.is_closed and len(undecided) >= MAX_UNDECIDED:
        return None
    if not bracket.is_closed:
        end = max(outcomes) if math.isinf(bracket.high) else min(outcomes)
        # Beyond a value that no cell could judge, steps do not grow: perhaps the machine is at its end.
        growth = 1 + first_step * (2 ** (len(outcomes) - 1) if outcomes[end] is not None else 1)
        return _usable(end * growth if math.isinf(bracket.high) else end / growth, outcomes)
    gaps = [Bracket(bracket.low, bracket.high)]
    if undecided:
        gaps = [Bracket(bracket.low, undecided[0]), Bracket(undecided[-1], bracket.high)]
    widest = max(gaps, key=lambda gap: gap.high / gap.low)
    return None if widest.is_within(within) else _usable(widest.middle, outcomes)


def _usable(value: float, outcomes: Outcomes) -> float | None:
    """Return a value with few digits that an experiment may have; None where it has been measured."""
    rounded = min(float(f"{value:.{DIGITS}g}"), MAX_VALUE)
    return rounded if rounded > 0 and rounded not in outcomes else None
