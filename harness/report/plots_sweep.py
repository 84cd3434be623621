"""The plot of metrics over the factor that arms sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from harness.analysis.window_series import Floats
from harness.metrics.registry import METRICS
from harness.report.plots_wait import log_latency
from harness.report.plotting import WIDTH_IN, PlotData, arm_line, arm_title, median_and_range

MAX_METRICS = 6
ALWAYS = ("spread.max_over_mean", "latency_ms.p99")
LOG_FROM = 8.0  # maximum / minimum of the factor
LOG_LATENCY_FROM = 20.0  # maximum / minimum latency in a panel
PINNED = 0.99  # minimum purity of sessions that stay on one replica
_MODEL = "random_placement.max_over_mean"

Point = tuple[float, Floats]


def with_sweep(data: PlotData) -> bool:
    """Return whether an arm sweeps a factor."""
    return bool(_factors(data))


def draw_sweep(data: PlotData) -> Figure:
    """Draw one panel per factor and metric, and one line per arm. A dashed line is a model's prediction."""
    wanted = [(factor, metric) for factor in _factors(data) for metric in _metrics(data, factor)]
    columns = min(len(wanted), 2 if len(wanted) <= 4 else 3)
    rows = -(-len(wanted) // columns)
    figure = Figure(figsize=(WIDTH_IN, 0.8 + 2.6 * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in grid[len(wanted) :]:
        unused.remove()
    handles: dict[str, Any] = {}
    for axes, (factor, metric) in zip(grid, wanted, strict=False):
        _panel(axes, data, factor, metric)
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=3)
    return figure


def _factors(data: PlotData) -> list[str]:
    found = [variant.factor for variant in data.experiment.variants.values() if variant.name in data.facts]
    return list(dict.fromkeys(factor for factor in found if factor is not None))


def _metrics(data: PlotData, factor: str) -> list[str]:
    """Return the metrics of expectations about arms that sweep the factor, and the metrics in ALWAYS."""
    swept = {variant.name for variant in data.experiment.variants.values() if variant.factor == factor}
    expected = [one.metric for one in data.experiment.expect if one.arm in swept or one.of in swept]
    metrics = [*dict.fromkeys(metric for metric in expected if metric != _MODEL)][: MAX_METRICS - 2]
    metrics = list(dict.fromkeys([*metrics, *ALWAYS]))
    return [metric for metric in metrics if any(len(data.values(arm, metric)) for arm in swept)]


def _panel(axes: Axes, data: PlotData, factor: str, metric: str) -> None:
    for number, base in enumerate(data.experiment.arms):
        style = {**arm_line(number), "markersize": 4}
        points = list(_points(data, base, factor, metric))
        if points:
            _line(axes, points, style, arm_title(base, max_length=40))
            if metric == "spread.max_over_mean" and _pinned(data, base):
                model = list(_points(data, base, factor, _MODEL))
                dashed = {**style, "linestyle": "--", "marker": "", "linewidth": 1.1}
                _line(axes, model, dashed, f"{arm_title(base, max_length=40)}: random placement predicts")
        elif base in data.facts and len(values := data.values(base, metric)):
            flat = {**style, "marker": ""}
            axes.axhline(float(np.median(values)), label=arm_title(base, max_length=40), **flat)
    _scale(axes, data, factor, metric)


def _points(data: PlotData, base: str, factor: str, metric: str) -> Iterator[Point]:
    """Yield (value of the factor, the metric in each repeat), by value."""
    variants = [one for one in data.experiment.variants.values() if one.base == base and one.factor == factor]
    for variant in sorted(variants, key=lambda one: one.value or 0):
        values = data.values(variant.name, metric)
        if len(values) and variant.value is not None:
            yield float(variant.value), values


def _line(axes: Axes, points: Sequence[Point], style: Mapping[str, Any], label: str) -> None:
    ranges = [median_and_range(values) for _, values in points]
    middle, whiskers = (np.array(column).T for column in zip(*ranges, strict=True))
    axes.errorbar(
        [value for value, _ in points], middle, whiskers, label=label, capsize=2.5, elinewidth=1, **style
    )


def _pinned(data: PlotData, base: str) -> bool:
    """Return whether all sessions of the arm's variants stay on one replica."""
    purities = [
        data.values(variant.name, "affinity.purity")
        for variant in data.experiment.variants.values()
        if variant.base == base
    ]
    found = np.concatenate(purities)
    return len(found) > 0 and float(found.min()) >= PINNED


def _scale(axes: Axes, data: PlotData, factor: str, metric: str) -> None:
    variants = data.experiment.variants.values()
    values = sorted({float(one.value) for one in variants if one.factor == factor and one.value is not None})
    if values[0] > 0 and values[-1] / values[0] >= LOG_FROM:
        axes.set_xscale("log")
    if len(values) <= 8:
        axes.xaxis.set_major_locator(FixedLocator(values))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    low, high = axes.get_ylim()
    unit = METRICS[metric].unit
    if unit == "ms" and axes.dataLim.y0 > 0 and axes.dataLim.y1 / axes.dataLim.y0 >= LOG_LATENCY_FROM:
        log_latency(axes)
        unit = "ms, log scale"
    else:
        axes.set_ylim(min(0, low), high)
    axes.set_title(metric)
    axes.set_xlabel(
        f"{factor.removeprefix('options.')} ({_FACTOR_UNITS.get(factor.rpartition('_')[2], 'value')})"
    )
    axes.set_ylabel(f"{metric.rpartition('.')[2]} ({unit})")


_FACTOR_UNITS = {"clients": "number", "workers": "number", "connections": "number", "ms": "ms", "s": "s"}
