"""Decides claims: does what was measured in each repeat lie on one side of a bound? Pure.

docs/decisions/0008-verdicts-carry-an-interval.md says why it is done this way.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.statistics import (
    FEWEST,
    Interval,
    Repeats,
    interval_over_repeats,
    poisson_limits,
    repeats_needed,
)
from harness.metrics.metric import Number, show
from harness.metrics.ranges import ANY_AMOUNT, Range, range_of_times
from harness.record.summary import Basis, FindingWord

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


ByRepeat = Mapping[int, Number]

FEW_EVENTS = 100  # in all repeats; with more of them the repeats show how they vary


@dataclass(frozen=True)
class Claim:
    """A metric is at least (else: at most) `bound`. `possible`: the values that it can have at all."""

    bound: float
    is_least: bool
    possible: Range = ANY_AMOUNT

    @property
    def allows_no_exception(self) -> bool:
        """Whether the bound is the end of what is possible, so that one repeat beyond it is a refutation."""
        end = self.possible.high if self.is_least else self.possible.low
        return self.possible.is_exact and self.bound == end

    def met_by(self, value: float) -> bool:
        """Return whether this value alone meets the bound."""
        return value >= self.bound if self.is_least else value <= self.bound


@dataclass(frozen=True)
class Decision:
    """The verdict on one claim, what it rests on, and a sentence.

    measured: median over the repeats; None: there is nothing to compare. interval: None where there is none.
    basis: `interval`; `every repeat`: the claim allows no exception, and each repeat was looked at alone;
    `one repeat`: a look, without an interval; `nothing`. more_repeats_help: more of them could decide it.
    """

    verdict: FindingWord
    basis: Basis
    measured: Number
    interval: Interval | None
    reason: str
    more_repeats_help: bool = False


def decide(
    values: ByRepeat, claim: Claim, repeats: Repeats, *, one_event: Mapping[int, float] | None = None
) -> Decision:
    """Decide a claim about one arm's metric. `values`: usable repeat -> what was measured in it.

    `one_event`: repeat -> by how much a single event would have moved the metric, where it counts events.
    """
    undefined = [repeat for repeat, value in sorted(values.items()) if value is None]
    if undefined:
        return _nothing(f"not measured in {_repeats_in_words(undefined)}")
    defined = {repeat: value for repeat, value in sorted(values.items()) if value is not None}
    if not defined:
        return _nothing("no repeat can be used")
    return _decide(defined, claim, repeats, one_event)


def decide_times(
    values: ByRepeat,
    others: ByRepeat,
    claim: Claim,
    repeats: Repeats,
    *,
    one_event: Mapping[int, float] | None = None,
) -> Decision:
    """Decide a claim about the ratio of two arms' metrics. The arms are compared within each repeat.

    A repeat in which only one of them is usable is left out. `claim.possible` is of the ratio.
    """
    common = sorted(values.keys() & others.keys())
    if not common:
        return _nothing("no repeat can be used in both arms")
    undefined = [repeat for repeat in common if values[repeat] is None or others[repeat] is None]
    if undefined:
        return _nothing(f"not measured in both arms in {_repeats_in_words(undefined)}")
    pairs = {
        repeat: (value, other)
        for repeat in common
        if (value := values[repeat]) is not None and (other := others[repeat]) is not None
    }
    of_zero = [repeat for repeat, (_, other) in pairs.items() if other == 0]
    if of_zero:
        reason = f"nothing is a multiple of the 0 measured in {_repeats_in_words(of_zero)}"
        if all(value for value, _ in pairs.values()):
            reason += "; written the other way round, the expectation can be decided"
        return _nothing(reason)
    infinite = [repeat for repeat, (value, other) in pairs.items() if value == other == math.inf]
    if infinite:
        return _nothing(f"infinity in both arms in {_repeats_in_words(infinite)}, so there is no ratio")
    ratios = {repeat: value / other for repeat, (value, other) in pairs.items()}
    steps = one_event and {repeat: one_event[repeat] / pairs[repeat][1] for repeat in common}
    return _decide(ratios, claim, repeats, steps)


def claim_of_times(bound: float, is_least: bool, one: Range, other: Range) -> Claim:
    """Return the claim about a ratio of two metrics with these possible values."""
    return Claim(bound, is_least, range_of_times(one, other))


def _decide(
    values: Mapping[int, float], claim: Claim, repeats: Repeats, one_event: Mapping[int, float] | None
) -> Decision:
    measured = statistics.median(values.values())
    if claim.allows_no_exception:
        return _every_repeat(values, claim, measured)
    if len(values) < FEWEST:
        return _one_repeat(claim, measured, repeats)
    amounts = list(values.values())
    steps = [one_event[repeat] for repeat in values] if one_event else []
    interval = interval_over_repeats(amounts, repeats)
    interval = _within(interval, claim.possible)
    if steps:
        interval = _with_few_events(interval, amounts, claim.possible, steps)
    word, figures = _side(interval, claim), interval_in_words(interval, claim.bound)
    if word != "inconclusive":
        return Decision(word, "interval", measured, interval, f"the interval is {figures}")
    reason = f"the interval {figures} contains the bound {shown_apart(claim.bound)}"
    if needed := repeats_needed(amounts, claim.bound, steps):
        reason += f"; about {needed} repeats would decide it"
    return Decision(word, "interval", measured, interval, reason, more_repeats_help=True)


def _every_repeat(values: Mapping[int, float], claim: Claim, measured: float) -> Decision:
    exceptions = [repeat for repeat, value in values.items() if not claim.met_by(value)]
    interval = Interval(min(values.values()), max(values.values()))
    if exceptions:
        shown = shown_apart(values[exceptions[0]], claim.bound)
        reason = f"{shown} in repeat {exceptions[0]}, and the claim allows no exception"
        return Decision("refuted", "every repeat", measured, interval, reason)
    reason = f"{shown_apart(claim.bound)} in {'the one repeat' if len(values) == 1 else 'each repeat'}"
    return Decision("held", "every repeat", measured, interval, reason)


def _one_repeat(claim: Claim, measured: float, repeats: Repeats) -> Decision:
    if repeats.most > 1:
        reason = f"one usable repeat of {repeats.most} has no interval"
        return Decision("inconclusive", "one repeat", measured, None, reason, more_repeats_help=True)
    word: FindingWord = "held" if claim.met_by(measured) else "refuted"
    return Decision(word, "one repeat", measured, None, "one repeat, no interval")


def _with_few_events(
    interval: Interval, values: Sequence[float], possible: Range, steps: Sequence[float]
) -> Interval:
    """Return the interval, reaching at least to what so few counted events cannot tell apart.

    Repeats with few events vary little by chance: three with none, or with one each, not at all. Where nearly
    all is an event, what is few are the exceptions. `steps`: what one event is worth in each repeat.
    """
    step, repeats = statistics.fmean(steps), len(values)
    for end, sign in ((possible.low, 1), (possible.high, -1)):
        if math.isinf(end):
            continue
        events = round(sum(abs(value - end) / one for value, one in zip(values, steps, strict=True)))
        if events <= FEW_EVENTS:
            limits = [end + sign * step * limit / repeats for limit in poisson_limits(events)]
            low, high = sorted(min(max(limit, possible.low), possible.high) for limit in limits)
            return interval.hull(low, high)
    return interval


def _within(interval: Interval, possible: Range) -> Interval:
    """Return the interval without values that the metric cannot have."""
    if not possible.is_exact:
        return interval
    low, high = (min(max(end, possible.low), possible.high) for end in (interval.low, interval.high))
    return Interval(low, high)


def _side(interval: Interval, claim: Claim) -> FindingWord:
    if claim.met_by(interval.low) and claim.met_by(interval.high):
        return "held"
    if not claim.met_by(interval.low) and not claim.met_by(interval.high):
        return "refuted"
    return "inconclusive"


def _nothing(reason: str) -> Decision:
    return Decision("inconclusive", "nothing", None, None, reason)


def _repeats_in_words(numbers: Sequence[int]) -> str:
    return f"repeat{'s'[: len(numbers) > 1]} {', '.join(map(str, numbers))}"
