"""Compares what was predicted with what was measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from harness.analysis.validity import is_unspoiled
from harness.metrics.event_metrics import event_metric
from harness.metrics.registry import CAPACITY, METRICS
from harness.record.prediction import ArmPrediction, Band, Prediction
from harness.record.summary import ArmSummary, EventSummary, Figure, Figures, Summary

# Metrics that are shown of every arm, besides those that the experiment expects something of.
CORE = (
    *("spread.max_over_mean", "affinity.purity", "error_share"),
    *("latency_ms.p50", "latency_ms.p99", "queue_ms.p99"),
)
LEAST_DIFFERENCE = 1e-6  # relative: less is rounding
RESOLUTION_MS = 1.0  # of what is measured: replicas sleep to within a millisecond (services/spending.py)
BUSY_SHARE = 0.25  # of the CPU that other programs took: then they are a likely reason


@dataclass(frozen=True)
class Comparison:
    """One metric of one arm: its band, what each usable repeat measured, and whether costs are missing.

    A median outside of the band is a surprise. One repeat of ten is expected outside.
    costs_missing: the metric is a latency, and its band lacks the fixed costs of this machine.
    """

    arm: str
    metric: str
    low: float
    median: float
    high: float
    measured: Sequence[float]
    costs_missing: bool
    reason: str

    @property
    def measured_median(self) -> float:
        """Median over the repeats."""
        return statistics.median(self.measured)

    @property
    def inside(self) -> int:
        """How many repeats lie in the band."""
        return sum(map(self._is_inside, self.measured))

    @property
    def is_surprise(self) -> bool:
        """Whether the measurement lies outside of its band, for another reason than missing costs."""
        return not self.costs_missing and not self._is_inside(self.measured_median)

    def _is_inside(self, value: float) -> bool:
        if not math.isfinite(value):
            return self.low <= value <= self.high
        room = RESOLUTION_MS if METRICS[self.metric].unit == "ms" else LEAST_DIFFERENCE * abs(value)
        return self.low - room <= value <= self.high + room


def comparisons(prediction: Prediction, summary: Summary) -> Iterator[Comparison]:
    """Yield every shown metric that was predicted and measured, arm by arm."""
    expected = {finding.metric for finding in summary.expectations}
    yield from _of_capacity(prediction, summary)
    for name, arm in summary.arms.items():
        predicted = prediction.arms.get(name)
        if predicted is None:
            continue
        for metric in METRICS:
            if metric in predicted.metrics and (metric in CORE or metric in expected):
                yield from _comparison(name, metric, predicted, arm, summary)


def _of_capacity(prediction: Prediction, summary: Summary) -> Iterator[Comparison]:
    """Yield the capacity of each arm that a search has found, and that was predicted."""
    for name, arm in {} if summary.search is None else summary.search.arms.items():
        predicted = prediction.arms.get(name)
        found = [math.sqrt(one.low * one.high) for one in arm.repeats if one.low and one.high]
        if predicted is not None and CAPACITY in predicted.metrics and found:
            low, median, high = ends_of(predicted.metrics[CAPACITY])
            costs_missing = not predicted.calibrated
            one = Comparison(name, CAPACITY, low, median, high, found, costs_missing, "")
            yield replace(one, reason="Not explained.") if one.is_surprise else one


def _comparison(
    name: str, metric: str, predicted: ArmPrediction, arm: ArmSummary, summary: Summary
) -> Iterator[Comparison]:
    usable = [repeat for repeat in arm.repeats if is_unspoiled(repeat.invalid_reasons, metric)]
    measured = [float(value) for one in usable if (value := _measured(one, metric)) is not None]
    if not measured:
        return
    low, median, high = ends_of(predicted.metrics[metric])
    costs_missing = "latency_ms" in metric and not predicted.calibrated
    found = Comparison(name, metric, low, median, high, measured, costs_missing, "")
    if found.is_surprise:
        found = replace(found, reason=_reason(found, arm, summary))
    yield found


def holder_of(figures: Figures, metric: str) -> tuple[Figures | EventSummary | None, str]:
    """Return who has the metric, the arm (or its repeat) or one of its events, and its name there."""
    found = event_metric(metric)
    if found is None:
        return figures, metric
    number, name = found
    return next((one for one in figures.events if one.number == number), None), name


def _measured(repeat: Figures, metric: str) -> Figure:
    where, name = holder_of(repeat, metric)
    return None if where is None else where.metrics.get(name)


def ends_of(band: Band) -> tuple[float, float, float]:
    """Return low, median and high; what a file has as null is infinity."""
    low, median, high = (
        math.inf if value is None else float(value) for value in (band.low, band.median, band.high)
    )
    return low, median, high


def _reason(found: Comparison, arm: ArmSummary, summary: Summary) -> str:
    """Return what is known to explain a surprise, in a sentence."""
    if any(cell.arm == found.arm for cell in summary.disturbed_cells):
        return "The machine disturbed a cell of this arm."
    prefix, _, rank = found.metric.rpartition(".")
    if "latency_ms" in prefix and (part := arm.metrics.get(f"generator_part.{rank}")):
        rest = found.measured_median * (1 - part)
        if found.low <= rest <= found.high:
            return f"The load generator itself caused {part:.0%} of it. Without that it lies in the band."
    taken = max((cell.others_share or 0.0 for cell in summary.machine if cell.arm == found.arm), default=0.0)
    if taken >= BUSY_SHARE:
        return f"Other programs took {taken:.0%} of the CPU meanwhile."
    if METRICS[found.metric].unit == "ms" and found.high - found.low < RESOLUTION_MS:
        return "The band has the medians of the costs of proxy and network, and not their spread."
    beyond = max(found.low - found.measured_median, found.measured_median - found.high)
    if len(found.measured) == 1 and beyond <= (found.high - found.low) / 2:
        return "One repeat, outside by at most half the width of its band: one of ten lies outside by chance."
    return "Not explained."
