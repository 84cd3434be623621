"""Judges the expectations by what the arms' cells measured. Pure.

An expectation that needs an unusable cell is inconclusive, and so is the run.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.metrics.facts import CellFacts
from harness.metrics.metric import NS_PER_MS, Number, show, times_of
from harness.metrics.registry import METRICS
from harness.record.summary import Finding, VerdictWord
from harness.spec.experiment import Expectation, Experiment

# Outside this range of achieved / planned sends, the replicas had another load than the experiment states.
# Nighthawk has the same rule. The share of sends that cross the window's edges is well below 5 %.
MIN_ACHIEVED_SHARE = 0.95
MAX_ACHIEVED_SHARE = 1.05
# Latency counts from the planned send, so it includes lag. With more lag p99 would show the generator.
MAX_LAG_P99_MS = 50.0

Results = Mapping[str, Sequence["CellResult"]]  # arm -> its cells


@dataclass(frozen=True)
class CellResult:
    """The values of one cell's metrics by name, and why the cell is not usable (empty: it is)."""

    repeat: int
    values: Mapping[str, Number]
    invalid_reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The verdict on a run. invalid_reasons: one line for each reason why something is not usable."""

    verdict: VerdictWord
    findings: list[Finding]
    invalid_reasons: list[str]


def measure(facts: CellFacts) -> CellResult:
    """Compute every metric of one cell, and the reasons why the cell is not usable."""
    values = {name: metric.compute(facts) for name, metric in METRICS.items()}
    return CellResult(facts.repeat, values, tuple(_invalid_reasons(facts)))


def judge(experiment: Experiment, results: Results, *, all_left_out: bool = False) -> Verdict:
    """Judge every expectation of `experiment` by `results`.

    `all_left_out`: there were expectations, but all are about arms that were not run.
    """
    reasons = {
        arm: _reasons_of_arm(arm, results.get(arm, ()), experiment.repeats) for arm in experiment.variants
    }
    findings = [_find(expectation, results, reasons) for expectation in experiment.expect]
    words = {finding.verdict for finding in findings}
    all_reasons = list(itertools.chain.from_iterable(reasons.values()))
    if all_left_out:
        all_reasons.append("the run: not usable, because every expectation is about an arm that was not run")
    if "refuted" in words:
        return Verdict("refuted", findings, all_reasons)
    doubtful = "inconclusive" in words or all_reasons
    return Verdict("inconclusive" if doubtful else "held", findings, all_reasons)


def median(values: Sequence[Number]) -> Number:
    """Return the median of the values that are not None; None without any."""
    defined = [value for value in values if value is not None]
    return statistics.median(defined) if defined else None


def _invalid_reasons(facts: CellFacts) -> list[str]:
    reasons = []
    if facts.status != "completed":
        reasons.append(f"the cell is {facts.status}")
    if not facts.requests:
        reasons.append("no request was recorded in the measured window")
    reasons += facts.lost_workers
    if (ledgers := facts.ledgers).reconciled is False:
        reasons.append(
            f"the ledgers do not reconcile ({ledgers.only_client} requests only at the client, "
            f"{ledgers.only_envoy} only at Envoy, {ledgers.only_replica} only at a replica, "
            f"{ledgers.disagree} disagree)"
        )
    achieved, planned = facts.achieved_rate_per_s, facts.planned_rate_per_s
    if planned and not facts.awaits_answers:
        share = achieved / planned
        if not MIN_ACHIEVED_SHARE <= share <= MAX_ACHIEVED_SHARE:
            sent = f"{achieved:.4g} of {planned:.4g} planned requests/s ({share:.0%})"
            reasons.append(f"the generator sent {sent}")
    lag_ms = facts.lag_ns.get("p99", 0.0) / NS_PER_MS
    if lag_ms > MAX_LAG_P99_MS:
        limit = f"(at most {MAX_LAG_P99_MS:g} ms)"
        reasons.append(f"the generator lagged {lag_ms:.4g} ms behind its plan at p99 {limit}")
    return reasons


def _reasons_of_arm(arm: str, cells: Sequence[CellResult], repeats: int) -> list[str]:
    pairs = [(cell.repeat, reason) for cell in cells for reason in cell.invalid_reasons]
    reasons = [f"{arm}, repeat {repeat}: not usable, because {reason}" for repeat, reason in pairs]
    if len(cells) < repeats:
        reasons.append(f"{arm}: not usable, because {len(cells)} of {repeats} repeats were recorded")
    return reasons


def _find(expectation: Expectation, results: Results, reasons: Mapping[str, list[str]]) -> Finding:
    arm, other, metric = expectation.arm, expectation.of, expectation.metric
    value, figures = _median_in_words(metric, results.get(arm, ()))
    measured = value
    factor: Number = 1.0
    unusable = list(reasons[arm])
    if other is not None:
        factor, figures_of_other = _median_in_words(metric, results.get(other, ()))
        measured = None if value is None or factor is None else times_of(value, factor)
        times = "" if measured is None else f"{show(measured)} times: "
        figures = f"{times}{figures} against {figures_of_other}"
        unusable += reasons[other]
    bound, is_least = expectation.bound
    verdict: VerdictWord
    if value is None or factor is None or unusable or value == factor == math.inf:
        verdict = "inconclusive"
    else:
        held = value >= bound * factor if is_least else value <= bound * factor
        verdict = "held" if held else "refuted"
    return Finding(text=expectation.in_words(), verdict=verdict, measured=measured, figures=figures)


def _median_in_words(metric: str, cells: Sequence[CellResult]) -> tuple[Number, str]:
    """Return the median over the cells; in words with its unit and the range over the repeats."""
    values = [value for cell in cells if (value := cell.values[metric]) is not None]
    words = show(median(values), METRICS[metric].unit)
    if len(values) > 1:
        low, high = show(min(values)), show(max(values))
        words += f" ({low} in each repeat)" if low == high else f" ({low} to {high} over repeats)"
    return median(values), words
