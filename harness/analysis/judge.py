"""Judges the expectations by what the arms' cells measured. Pure.

claims.py decides one claim from one value a repeat; validity.py says which cells can tell a metric.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.analysis.claims import ByRepeat, Claim, Decision, decide, decide_times, shown_apart
from harness.analysis.search import Searches, bracket_of_arm, decide_capacity, searches_of
from harness.analysis.statistics import Repeats
from harness.analysis.validity import CellResult
from harness.metrics.metric import MIN_VALUES, Number, percentile_of, show
from harness.metrics.ranges import range_of, range_of_times
from harness.metrics.registry import CAPACITY, METRICS
from harness.record.summary import Finding, VerdictWord
from harness.spec.expectation_checks import planned_of
from harness.spec.experiment import Experiment
from harness.spec.model import Expectation

Results = Mapping[str, Sequence[CellResult]]  # arm -> its cells


@dataclass(frozen=True)
class Verdict:
    """The verdict on a run. invalid_reasons: one line for each reason why something is not usable.

    more_repeats_help: an expectation is not decided, and more repeats could decide it.
    """

    verdict: VerdictWord
    findings: list[Finding]
    invalid_reasons: list[str]
    more_repeats_help: bool = False


def judge(
    experiment: Experiment, results: Results, *, all_left_out: bool = False, changes: Sequence[str] = ()
) -> Verdict:
    """Judge every expectation of `experiment` by `results`.

    `all_left_out`: there were expectations, but all are about arms that were not run. `changes`: what changes
    the question; where something does, no expectation is judged, and the verdict is `measured` at best.
    """
    searches = searches_of(experiment, results)
    recorded = _recorded_repeats(experiment, results, searches)
    reasons = [*_reasons_of_cells(experiment, results), *_missing(recorded, experiment.repeats.min)]
    incomplete = any(count < experiment.repeats.min for count in recorded.values())
    wrong_record = any(cell.record_is_wrong for cells in results.values() for cell in cells)
    if all_left_out:
        reasons.append("the run: not usable, because every expectation is about an arm that was not run")
    decisions = [
        decide_capacity(expectation, experiment, searches)
        if expectation.metric == CAPACITY
        else _decide(expectation, experiment, results)
        for expectation in experiment.expect
    ]
    if changes:
        decisions = [_not_judged(decision) for decision in decisions]
    findings = [
        _finding(expectation, decision, results, searches)
        for expectation, decision in zip(experiment.expect, decisions, strict=True)
    ]
    words = {finding.verdict for finding in findings}
    word: VerdictWord
    if "refuted" in words:
        word = "refuted"
    elif incomplete or wrong_record or all_left_out or ("inconclusive" in words and not changes):
        word = "inconclusive"
    else:
        word = "held" if findings and not changes else "measured"
    return Verdict(word, findings, reasons, any(decision.more_repeats_help for decision in decisions))


def _not_judged(decision: Decision) -> Decision:
    """Return what was measured, without a verdict: the bound was written for another question."""
    return Decision("inconclusive", "nothing", decision.measured, decision.interval, "not judged")


def median(values: Sequence[Number]) -> Number:
    """Return the median of the values that are not None; None without any."""
    defined = [value for value in values if value is not None]
    return statistics.median(defined) if defined else None


def _recorded_repeats(experiment: Experiment, results: Results, searches: Searches) -> dict[str, int]:
    """Return how many repeats were recorded of each arm; of a searched arm, in how many it was searched."""
    if searches:
        return {arm: len(repeats) for arm, repeats in searches.items()}
    return {arm: len(results.get(arm, ())) for arm in experiment.variants}


def _reasons_of_cells(experiment: Experiment, results: Results) -> Iterator[str]:
    for arm in experiment.variants:
        for cell in results.get(arm, ()):
            yield from (f"{arm}, repeat {cell.repeat}: {reason.in_words}" for reason in cell.invalid_reasons)


def _missing(recorded: Mapping[str, int], least: int) -> Iterator[str]:
    for arm, count in recorded.items():
        if count < least:
            yield f"{arm}: not usable, because {count} of {least} repeats were recorded"


def _decide(expectation: Expectation, experiment: Experiment, results: Results) -> Decision:
    """Decide an expectation, and again without what the machine may have added: both must agree."""
    metric, other = expectation.metric, expectation.of
    repeats = Repeats(experiment.repeats.min, experiment.repeats.max)
    bound, is_least = expectation.bound
    arms = [expectation.arm] if other is None else [expectation.arm, other]
    possible = [range_of(metric, planned_of(experiment, experiment.variants[arm])) for arm in arms]
    claim = Claim(bound, is_least, possible[0] if other is None else range_of_times(*possible))
    told = [[cell for cell in results.get(arm, ()) if cell.can_tell(metric)] for arm in arms]
    one_event = {cell.repeat: cell.one_event[metric] for cell in told[0] if metric in cell.one_event}
    steps = one_event if len(one_event) == len(told[0]) else None

    def decided(values: Sequence[ByRepeat]) -> Decision:
        if other is None:
            return decide(values[0], claim, repeats, one_event=steps)
        return decide_times(values[0], values[1], claim, repeats, one_event=steps)

    measured = [_values(cells, metric) for cells in told]
    decision = decided(measured)
    for number, cells in enumerate(told):
        punctual = [*measured]
        punctual[number] = _values(cells, metric, punctual=True)
        if punctual[number] != measured[number]:
            decision = _both(decision, decided(punctual), cells, metric)
    if decision.basis == "nothing" and any(cell.was_slowed for arm in arms for cell in results.get(arm, ())):
        decision = replace(decision, more_repeats_help=True)  # the machine may be calmer then
    undefined = any(value is None for values in measured for value in values.values())
    if undefined and (rank := percentile_of(metric)) is not None:
        reason = f"{decision.reason}; {rank} takes {MIN_VALUES[rank]:,} values in a cell"
        decision = replace(decision, reason=reason)
    return decision


def _values(cells: Sequence[CellResult], metric: str, *, punctual: bool = False) -> dict[int, Number]:
    """Return repeat -> what was measured; `punctual`: without what the machine may have added."""
    return {
        cell.repeat: value
        if (value := cell.values[metric]) is None or not punctual
        else max(0.0, value - cell.excess(metric))
        for cell in cells
    }


def _both(decision: Decision, punctual: Decision, cells: Sequence[CellResult], metric: str) -> Decision:
    """Return `decision` where it does not depend on what the machine added, else that it is inconclusive."""
    if decision.verdict == punctual.verdict or decision.verdict == "inconclusive":
        return decision
    excess = show(max(cell.excess(metric) for cell in cells), "ms")
    if any(cell.was_slowed for cell in cells):
        why = f"up to {excess} of it may be the machine's, which was taken meanwhile"
    else:
        why = f"the generator was up to {excess} late ({METRICS[metric].lag_rank}), which may be in it"
    reason = f"{decision.reason}, but {why}"
    help_ = punctual.more_repeats_help
    return replace(decision, verdict="inconclusive", reason=reason, more_repeats_help=help_)


def _median_of(arm: str, metric: str, results: Results, searches: Searches) -> Number:
    if metric == CAPACITY:
        found = bracket_of_arm(searches, arm)
        return None if found is None or math.isinf(found.middle) else found.middle
    return median([cell.values[metric] for cell in results.get(arm, ())])


def _finding(expectation: Expectation, decision: Decision, results: Results, searches: Searches) -> Finding:
    bound, _ = expectation.bound
    unit = METRICS[expectation.metric].unit
    medians = [
        _median_of(arm, expectation.metric, results, searches)
        for arm in (expectation.arm, expectation.of)
        if arm is not None
    ]
    words = [show(value, unit) for value in medians]
    if expectation.of is None:
        measured = words[0] if decision.measured is None else shown_apart(decision.measured, bound, unit)
    else:
        measured = f"{words[0]} against {words[1]}"
        if decision.measured is not None:
            measured = f"{shown_apart(decision.measured, bound)} times: {measured}"
    interval = decision.interval
    return Finding(
        text=expectation.in_words(),
        arm=expectation.arm,
        metric=expectation.metric,
        of=expectation.of,
        bound=bound,
        verdict=decision.verdict,
        measured=decision.measured,
        interval=None if interval is None else (interval.low, interval.high),
        basis=decision.basis,
        reason=decision.reason,
        figures=f"{measured} ({decision.reason})",
    )
