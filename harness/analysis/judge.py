"""Does the claim hold? Expectations against what the arms' cells measured. Pure.

An expectation that needs a cell which is not usable is inconclusive, and so is the run.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.metrics.figures import show
from harness.metrics.metric import NS_PER_MS
from harness.metrics.registry import METRICS
from harness.metrics.spread import Number
from harness.record.summary import Finding, VerdictWord

if TYPE_CHECKING:
    from harness.metrics.facts import CellFacts
    from harness.spec.experiment import Expectation, Experiment

# Outside this range of achieved / planned sends the replicas saw another load than the experiment states.
# Nighthawk decides the same way; 5 % is well above the share of sends that cross the window's edges.
MIN_ACHIEVED_SHARE = 0.95
MAX_ACHIEVED_SHARE = 1.05
# Latency is counted from the planned send, so lag is part of it: a generator later than this for one send
# in a hundred would itself be the tail that p99 shows.
MAX_LAG_P99_MS = 50.0


@dataclass(frozen=True)
class CellResult:
    """One cell for the judge: metric name -> value, and why it is not usable (empty: it is)."""

    repeat: int
    values: Mapping[str, Number]
    invalid_reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The verdict on a run. invalid_reasons: one line per reason why something is not usable."""

    verdict: VerdictWord
    findings: list[Finding]
    invalid_reasons: list[str]


def measure(facts: CellFacts) -> CellResult:
    """Compute every metric of one cell, and why the cell is not usable, if it is not."""
    values = {name: metric.compute(facts) for name, metric in METRICS.items()}
    return CellResult(facts.repeat, values, tuple(_invalid_reasons(facts)))


def judge(
    experiment: Experiment, results: Mapping[str, Sequence[CellResult]], *, all_left_out: bool = False
) -> Verdict:
    """Hold every expectation of `experiment` against `results` (arm -> its cells).

    `all_left_out`: it had expectations, but all speak of arms that were not to be run.
    """
    reasons = {
        arm: _reasons_of_arm(arm, results.get(arm, ()), experiment.repeats) for arm in experiment.variants
    }
    findings = [_find(expectation, results, reasons) for expectation in experiment.expect]
    words = {finding.verdict for finding in findings}
    all_reasons = [reason for arm in reasons.values() for reason in arm]
    if all_left_out:
        all_reasons.append("the run: not usable, because every expectation is about an arm that was not run")
    verdict: VerdictWord = "held"
    if "refuted" in words:
        verdict = "refuted"
    elif "inconclusive" in words or all_reasons:
        verdict = "inconclusive"
    return Verdict(verdict, findings, all_reasons)


def median(values: Sequence[Number]) -> Number:
    """Median of the values that are defined; None if none is."""
    defined = [value for value in values if value is not None]
    return statistics.median(defined) if defined else None


def _invalid_reasons(facts: CellFacts) -> list[str]:
    reasons = []
    if facts.status != "completed":
        reasons.append(f"the cell is {facts.status}")
    if not facts.requests:
        reasons.append("no request was recorded in the measured window")
    reasons += facts.lost_workers
    ledgers = facts.ledgers
    if ledgers.reconciled is False:
        reasons.append(
            f"the ledgers do not reconcile ({ledgers.only_client} requests only at the client, "
            f"{ledgers.only_envoy} only at Envoy, {ledgers.only_replica} only at a replica, "
            f"{ledgers.disagree} disagree)"
        )
    if facts.planned_rate_per_s and not facts.awaits_answers:
        share = facts.achieved_rate_per_s / facts.planned_rate_per_s
        if not MIN_ACHIEVED_SHARE <= share <= MAX_ACHIEVED_SHARE:
            reasons.append(
                f"the generator sent {facts.achieved_rate_per_s:.4g} of "
                f"{facts.planned_rate_per_s:.4g} planned requests/s ({share:.0%})"
            )
    lag_ms = facts.lag_ns.get("p99", 0.0) / NS_PER_MS
    if lag_ms > MAX_LAG_P99_MS:
        reasons.append(
            f"the generator lagged {lag_ms:.4g} ms behind its plan at p99 (at most {MAX_LAG_P99_MS:g} ms)"
        )
    return reasons


def _reasons_of_arm(arm: str, cells: Sequence[CellResult], repeats: int) -> list[str]:
    reasons = [
        f"{arm}, repeat {cell.repeat}: not usable, because {reason}"
        for cell in cells
        for reason in cell.invalid_reasons
    ]
    if len(cells) < repeats:
        reasons.append(f"{arm}: not usable, because {len(cells)} of {repeats} repeats were recorded")
    return reasons


def _find(
    expectation: Expectation, results: Mapping[str, Sequence[CellResult]], reasons: Mapping[str, list[str]]
) -> Finding:
    unit = METRICS[expectation.metric].unit
    values = _values(results, expectation.arm, expectation.metric)
    value, measured = median(values), median(values)
    figures = f"{show(value, unit)}{_range(values)}"
    factor: Number = 1.0
    arms = [expectation.arm]
    if expectation.of is not None:
        others = _values(results, expectation.of, expectation.metric)
        factor = median(others)
        measured = value / factor if value is not None and factor else None
        times = "" if measured is None else f"{show(measured)} times: "
        figures = f"{times}{figures} against {show(factor, unit)}{_range(others)}"
        arms.append(expectation.of)
    bound, is_least = expectation.bound
    text = expectation.in_words()
    if value is None or factor is None or any(reasons[arm] for arm in arms):
        return Finding(text=text, verdict="inconclusive", measured=measured, figures=figures)
    held = value >= bound * factor if is_least else value <= bound * factor
    verdict: VerdictWord = "held" if held else "refuted"
    return Finding(text=text, verdict=verdict, measured=measured, figures=figures)


def _values(results: Mapping[str, Sequence[CellResult]], arm: str, metric: str) -> list[Number]:
    return [cell.values[metric] for cell in results.get(arm, ())]


def _range(values: Sequence[Number]) -> str:
    defined = [value for value in values if value is not None]
    if len(defined) < 2:
        return ""
    low, high = show(min(defined)), show(max(defined))
    return f" ({low} in each repeat)" if low == high else f" ({low} to {high} over repeats)"
