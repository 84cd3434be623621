"""The picture of an experiment's history: metrics over runs, and where machine or versions changed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from harness.metrics.headlines import headline_of
from harness.metrics.registry import METRICS
from harness.report.history import History
from harness.report.plotting import ARM_COLOURS, FAIR, MARKERS, RC, WIDTH_IN

_PANEL_IN, _MAX_LABELS = 2.4, 24


def history_svg(history: History, metrics: Sequence[str]) -> str:
    """Return the picture as SVG text: one panel for each metric, the runs in the order of time."""
    with rc_context(RC):
        figure = Figure(figsize=(WIDTH_IN, 0.8 + _PANEL_IN * len(metrics)), layout="constrained")
        panels = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
        for axes, metric in zip(panels, metrics, strict=True):
            _draw_metric(axes, history, metric)
            _draw_changes(axes, history)
        _label_runs(panels[-1], history)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
        text = io.StringIO()
        # The date would make every picture differ.
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": "lb-lab"})
    return text.getvalue()


def _draw_metric(axes: Any, history: History, metric: str) -> None:
    """Draw a line for each arm: the median of each run, and the range of its repeats."""
    for number, arm in enumerate(history.arms(metric)):
        places, medians, low, high = [], [], [], []
        for place, past in enumerate(history.runs):
            value, repeats = past.median(arm, metric), past.values(arm, metric)
            if value is None or not repeats:
                continue
            places.append(place)
            medians.append(value)
            low.append(max(0.0, value - min(repeats)))
            high.append(max(0.0, max(repeats) - value))
        style = {"color": ARM_COLOURS[number % len(ARM_COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
        axes.errorbar(places, medians, yerr=[low, high], label=arm, capsize=2, linewidth=1, **style)
    axes.set_ylabel(f"{headline_of(metric)}\n({METRICS[metric].unit})")
    axes.set_title(f"{metric}: median and range of the repeats")


def _draw_changes(axes: Any, history: History) -> None:
    """Draw a dashed line before each run whose machine or versions differ from those of the run before."""
    for place, (before, after) in enumerate(zip(history.runs, history.runs[1:], strict=False)):
        if before.where != after.where:
            axes.axvline(place + 0.5, **FAIR)


def _label_runs(axes: Any, history: History) -> None:
    every = -(-len(history.runs) // _MAX_LABELS)
    shown = range(0, len(history.runs), every)
    labels = [f"{history.runs[place].run.started}  {history.runs[place].where}" for place in shown]
    axes.set_xticks(list(shown), labels, rotation=40, ha="right")
    axes.set_xlabel("Run: start (UTC), machine and versions; dashed: machine or versions changed")
