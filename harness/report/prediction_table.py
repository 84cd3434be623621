"""Prediction and measurement side by side: a table for the report, lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from rich.console import Console
from rich.markup import escape

from harness.analysis.surprises import Comparison, comparisons, ends_of
from harness.metrics.headlines import figure_in_words, headline_of
from harness.metrics.metric import show
from harness.metrics.registry import CAPACITY, METRICS
from harness.record.prediction import Prediction, read_prediction
from harness.record.summary import Summary
from harness.report.finding import MAX_NAMED, finding_of
from harness.report.tables import Table, named
from harness.report.terminal import entry

SURPRISE = "surprise"
_CAPTION = (
    "Before the first cell, a simulator computed every arm many times. Nine of ten simulated cells lie in a "
    "band. A median of the repeats outside of its band is a surprise: the simulator lacks "
    "something, or the measurement was disturbed."
)
MAX_LINES = 5  # surprises that the terminal names


@dataclass(frozen=True)
class PredictionSection:
    """What the report says of the prediction: sentences, and a table; None where nothing was predicted.

    told: what was predicted of the metrics that the finding is about, without what was measured.
    """

    told: Sequence[str]
    notes: Sequence[str]
    table: Table | None
    surprises: Sequence[str]


def prediction_section(run: Path, summary: Summary) -> PredictionSection | None:
    """Return the section of a run; None for a run without a prediction. Raises UserError as read_record."""
    prediction = read_prediction(run)
    if prediction is None:
        return None
    found = list(comparisons(prediction, summary))
    table = Table(
        ["Metric", "predicted (5-95 %)", "measured", "repeats inside", "remark"],
        [_row(one) for one in found],
        _CAPTION,
    )
    surprises = [_surprise(one) for one in found if one.is_surprise]
    told = list(_told(found, finding_of(summary).metrics))
    return PredictionSection(told, list(_notes(prediction)), table if found else None, surprises)


def _told(found: Sequence[Comparison], metrics: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each metric: the band of each arm, of up to MAX_NAMED arms."""
    for metric in metrics:
        bands = [one for one in found if one.metric == metric and not one.costs_missing]
        if 0 < len(bands) <= MAX_NAMED:
            told = ", ".join(f"{_band(one)} with {one.arm}" for one in bands)
            yield f"The {headline_of(metric)}: {told}."


def _band(one: Comparison) -> str:
    low, high = (figure_in_words(one.metric, end) for end in (one.low, one.high))
    return low if low == high else f"{low} to {high}"


def _row(one: Comparison) -> list[str]:
    unit = METRICS[one.metric].unit
    word = SURPRISE if one.is_surprise else "costs not known yet" if one.costs_missing else ""
    return [
        Markup("{}, {}").format(one.arm, named(one.metric)),
        f"{show(one.median, unit)} ({show(one.low)}-{show(one.high)})",
        show(one.measured_median, unit),
        f"{one.inside} of {len(one.measured)}",
        word,
    ]


def _surprise(one: Comparison) -> str:
    unit = METRICS[one.metric].unit
    return (
        f"{one.arm}: the {headline_of(one.metric)} is {show(one.measured_median, unit)}, predicted "
        f"{show(one.low)} to {show(one.high, unit)}. {one.reason}"
    )


def _notes(prediction: Prediction) -> Iterator[str]:
    if prediction.skipped is not None:
        yield f"Nothing was predicted: {prediction.skipped}."
        return
    for name, arm in prediction.arms.items():
        if arm.not_modelled:
            yield f"{name} was not predicted; the simulator does not have: {', '.join(arm.not_modelled)}."
    if any(arm.simulations and not arm.calibrated for arm in prediction.arms.values()):
        yield f"{prediction.costs.capitalize()}."


def print_prediction(run: Path, summary: Summary, console: Console) -> None:
    """Print how far the prediction held, with the first surprises; nothing for a run without one."""
    prediction = read_prediction(run)
    for word, text in () if prediction is None else _lines(prediction, summary):
        colour = "yellow" if word == SURPRISE else "dim"
        console.print(entry(f"[{colour}]{word}[/]", escape(text)))


def _capacities(prediction: Prediction) -> Iterator[str]:
    """Yield the band of the capacity of each searched arm."""
    for name, arm in prediction.arms.items():
        if CAPACITY in arm.metrics:
            low, median, high = ends_of(arm.metrics[CAPACITY])
            words = figure_in_words(CAPACITY, median)
            share = f"{prediction.band_share:.0%} of the simulated searches"
            yield f"{name}: {words} ({show(low)} to {show(high)} in {share})"


def _lines(prediction: Prediction, summary: Summary) -> Iterator[tuple[str, str]]:
    if prediction.skipped is not None:
        yield "predicted", f"nothing: {prediction.skipped}"
        return
    found = [one for one in comparisons(prediction, summary) if not one.costs_missing]
    yield from (("predicted", line) for line in _capacities(prediction))
    if not found:
        return
    inside = sum(not one.is_surprise for one in found)
    yield "predicted", f"{inside} of {len(found)} measurements lie in the band that a simulation gave before"
    surprises = [one for one in found if one.is_surprise]
    for one in surprises[:MAX_LINES]:
        yield SURPRISE, _surprise(one)
    if len(surprises) > MAX_LINES:
        yield SURPRISE, f"and {len(surprises) - MAX_LINES} more: see the report"
