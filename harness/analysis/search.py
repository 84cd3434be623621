"""What a search has found: whether the condition held in each cell, and the bracket of each repeat. Pure.

The capacity of an arm in one repeat lies in a bracket. An expectation of it is decided twice, with the lowest
and with the highest values that the brackets allow. Both must agree.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.analysis.claims import Claim, Decision, decide, interval_in_words
from harness.analysis.statistics import Interval, Repeats
from harness.analysis.validity import CellResult
from harness.metrics.metric import Number, show
from harness.plan.search import Bracket, Outcomes, bracket_of, contradiction_of
from harness.record.summary import ArmSearch, RepeatSearch, SearchedCell, SearchSummary
from harness.spec.experiment import Experiment
from harness.spec.model import Expectation
from harness.spec.search import Condition


@dataclass(frozen=True)
class Trial:
    """One cell of a search. held: whether the condition did; None: the cell cannot say, see `reason`."""

    arm: str
    repeat: int
    value: float
    measured: Number
    held: bool | None
    reason: str = ""


Searches = Mapping[str, Mapping[int, Sequence[Trial]]]  # arm in the file -> repeat -> its cells, by value


def searches_of(experiment: Experiment, results: Mapping[str, Sequence[CellResult]]) -> Searches:
    """Return the cells of each search. experiment: with the searched values. results: arm as run -> cells."""
    if experiment.search is None:
        return {}
    condition = experiment.search.condition
    found: dict[str, dict[int, list[Trial]]] = {name: {} for name in experiment.arms}
    for name, variant in experiment.variants.items():
        for result in results.get(name, ()):
            if variant.value is not None:
                trial = _trial(name, float(variant.value), result, condition)
                found[variant.base].setdefault(result.repeat, []).append(trial)
    return {
        arm: {repeat: sorted(trials, key=lambda one: one.value) for repeat, trials in sorted(own.items())}
        for arm, own in found.items()
    }


def outcomes_of(trials: Sequence[Trial]) -> Outcomes:
    """Return value -> whether the condition held, of one arm in one repeat."""
    return {trial.value: trial.held for trial in trials}


def contradictions_in_words(trials: Mapping[int, Sequence[Trial]]) -> list[str]:
    """Return where the condition failed at a value and held at a higher one, in words. trials: by repeat."""
    lines = []
    for repeat, own in trials.items():
        if found := contradiction_of(outcomes_of(own)):
            lines.append(f"in repeat {repeat} it failed at {show(found[0])} and held at {show(found[1])}")
    brackets = {repeat: bracket_of(outcomes_of(own)) for repeat, own in trials.items()}
    lowest = min(brackets, key=lambda repeat: brackets[repeat].high, default=0)
    highest = max(brackets, key=lambda repeat: brackets[repeat].low, default=0)
    if brackets and brackets[lowest].high < brackets[highest].low:
        lines.append(
            f"it failed at {show(brackets[lowest].high)} in repeat {lowest} and held at "
            f"{show(brackets[highest].low)} in repeat {highest}"
        )
    return lines


def _trial(arm: str, value: float, result: CellResult, condition: Condition) -> Trial:
    """Judge the condition in one cell, and again as if the generator had not been late: both must agree."""
    metric, claim = condition.metric, Claim(*condition.bound)
    measured = result.values[metric]

    def trial(held: bool | None, reason: str = "") -> Trial:
        return Trial(arm, result.repeat, value, measured, held, reason)

    if result.disturbed:
        return trial(None, f"disturbed: {result.disturbed}")
    if not result.can_tell(metric):
        return trial(None, next(reason.text for reason in result.invalid_reasons))
    if measured is None:
        return trial(None, f"{metric} was not measured: too few requests")
    held = claim.met_by(measured)
    excess = result.excess(metric)
    if held != claim.met_by(max(0.0, measured - excess)):
        return trial(None, f"up to {show(excess, 'ms')} may be the generator's own")
    return trial(held)


def decide_capacity(expectation: Expectation, experiment: Experiment, searches: Searches) -> Decision:
    """Decide an expectation about the capacity of an arm, or about its ratio to that of another arm."""
    repeats = Repeats(experiment.repeats.min, experiment.repeats.max)
    claim = Claim(*expectation.bound)
    own = _brackets(searches, expectation.arm)
    if expectation.of is None:
        ends = own
    else:
        other = _brackets(searches, expectation.of)
        ends = {repeat: _ratio(own[repeat], other[repeat]) for repeat in own.keys() & other.keys()}
    if not ends:
        return Decision("inconclusive", "nothing", None, None, "no search was recorded")
    low = decide({repeat: one.low for repeat, one in ends.items()}, claim, repeats)
    high = decide({repeat: one.high for repeat, one in ends.items()}, claim, repeats)
    return _both(low, high, claim, middle_bracket(ends.values()))


def _brackets(searches: Searches, arm: str) -> dict[int, Bracket]:
    return {repeat: bracket_of(outcomes_of(trials)) for repeat, trials in searches[arm].items()}


def _ratio(one: Bracket, other: Bracket) -> Bracket:
    low = one.low / other.high if math.isfinite(other.high) else 0.0
    return Bracket(low, one.high / other.low if other.low else math.inf)


def middle_bracket(brackets: Collection[Bracket]) -> Bracket:
    """Return the medians of both ends over the repeats."""
    return Bracket(
        statistics.median(one.low for one in brackets), statistics.median(one.high for one in brackets)
    )


def bracket_of_arm(searches: Searches, arm: str) -> Bracket | None:
    """Return the medians of both ends of an arm's brackets; None where nothing was searched."""
    found = _brackets(searches, arm)
    return middle_bracket(found.values()) if found else None


def _both(low: Decision, high: Decision, claim: Claim, bracket: Bracket) -> Decision:
    """Return the decision for the lowest and the highest values that are possible."""
    interval = Interval(bracket.low, bracket.high)
    for one in (low, high):
        if one.interval is not None:
            interval = interval.hull(one.interval.low, one.interval.high)
    measured = bracket.middle if bracket.is_closed else None
    if low.verdict == high.verdict != "inconclusive":
        what = "bracket" if low.basis == "one repeat" else "interval"
        reason = f"the {what} is {interval_in_words(interval, claim.bound)}"
        if low.basis == "one repeat":
            reason = f"one repeat; {reason}"
        return replace(low, measured=measured, interval=interval, reason=reason)
    contains = f"contains the bound {show(claim.bound)}"
    if "inconclusive" not in (low.verdict, high.verdict):
        is_open = math.isinf(interval.high) or not interval.low
        narrow = "" if is_open else "; a narrower `within` may decide it"
        reason = f"the bracket {interval_in_words(interval, claim.bound)} {contains}{narrow}"
        return Decision("inconclusive", low.basis, measured, interval, reason)
    open_ = low if low.verdict == "inconclusive" else high
    reason = open_.reason
    if open_.basis == "interval":
        reason = f"the interval {interval_in_words(interval, claim.bound)} {contains}"
    more = low.more_repeats_help or high.more_repeats_help
    return replace(open_, measured=measured, interval=interval, reason=reason, more_repeats_help=more)


def search_summary(
    experiment: Experiment, results: Mapping[str, Sequence[CellResult]]
) -> SearchSummary | None:
    """Return what the searches have found, as summary.json has it; None for an experiment without one."""
    search = experiment.search
    if search is None:
        return None
    searches = searches_of(experiment, results)
    return SearchSummary(
        factor=search.factor,
        metric=search.condition.metric,
        bound=search.condition.bound[0],
        condition=search.condition.in_words(),
        within=search.within_share,
        arms={arm: _arm(searches, arm, search.within_share) for arm in experiment.arms},
    )


def _arm(searches: Searches, arm: str, within: float) -> ArmSearch:
    bracket = bracket_of_arm(searches, arm) or Bracket(0.0, math.inf)
    return ArmSearch(
        **_ends(bracket),
        capacity_per_s=bracket.middle,
        repeats=[_repeat(repeat, trials, within) for repeat, trials in searches[arm].items()],
        contradictions=contradictions_in_words(searches[arm]),
    )


def _repeat(repeat: int, trials: Sequence[Trial], within: float) -> RepeatSearch:
    bracket = bracket_of(outcomes_of(trials))
    cells = [
        SearchedCell(arm=one.arm, value=one.value, measured=one.measured, held=one.held, reason=one.reason)
        for one in trials
    ]
    return RepeatSearch(repeat=repeat, **_ends(bracket), is_found=bracket.is_within(within), cells=cells)


def _ends(bracket: Bracket) -> dict[str, float | None]:
    return {"low": bracket.low or None, "high": bracket.high if math.isfinite(bracket.high) else None}


def arms_at_the_ends(search: SearchSummary) -> set[str]:
    """Return the arms as run at both ends of each bracket, in the first repeat that has one."""
    names = set()
    for arm in search.arms.values():
        found = next((one for one in arm.repeats if one.low or one.high), None)
        if found is not None:
            names |= {cell.arm for cell in found.cells if cell.value in (found.low, found.high)}
    return names
