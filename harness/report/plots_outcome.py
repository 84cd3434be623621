"""Plots of outcomes: errors and attempts, cache hits against imbalance, and metrics over a swept factor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter
from matplotlib.transforms import Bbox

from harness.analysis.window_series import Floats
from harness.metrics.headlines import headline_of
from harness.metrics.registry import METRICS
from harness.report.plots_wait import log_latency
from harness.report.plotting import (
    AT_LEAST,
    AT_LEAST_IN_WORDS,
    CODE_COLOURS,
    FAIR,
    OTHER_CODE_COLOURS,
    PlotData,
    arm_line,
    arm_title,
    median_and_range,
    name_rows,
)

MIN_SHARE = 0.0005  # of the requests: a smaller share is a single call that was cut off


def with_errors(data: PlotData) -> bool:
    """Return whether requests failed, or an arm retries."""
    return _with_retries(data) or any(
        np.median(data.values(arm, "error_share")) >= MIN_SHARE for arm in data.arms
    )


def _with_retries(data: PlotData) -> bool:
    return any(variant.arm.retries is not None for variant in data.experiment.variants.values())


def draw_errors(data: PlotData) -> Figure:
    """Draw stacked shares by gRPC code per arm, and beside them attempts per request."""
    height_in, rows = 1.4 + 0.3 * len(data.facts), 2 if data.narrow else 1
    figure = Figure(figsize=(data.width_in, rows * height_in), layout="constrained")
    ratios = None if data.narrow else (2, 1)
    shares, attempts = figure.subplots(rows, 3 - rows, sharey=True, width_ratios=ratios)
    _stack_codes(shares, data)
    found = {row: data.values(arm, "attempts.per_request") for row, arm in enumerate(data.arms)}
    tries = {row: float(np.median(values)) for row, values in found.items() if len(values)}
    attempts.barh(list(tries), list(tries.values()), height=0.7, color="#666666")
    attempts.axvline(1, **FAIR)
    attempts.set_xlabel(f"Attempts per request ({'ratio' if tries else 'not available'})")
    attempts.set_ylabel("Arm (name)")
    for axes in (shares, attempts):
        axes.grid(visible=False, axis="y")
        axes.set_xlim(left=0)
    name_rows(shares, data.arms)
    handles, labels = shares.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(data.abreast(5), max(1, len(labels)))
    )
    return figure


def _stack_codes(axes: Axes, data: PlotData) -> None:
    codes = sorted({code for cells in data.facts.values() for cell in cells for code in cell.errors})
    others = cycle(OTHER_CODE_COLOURS)
    left = np.zeros(len(data.facts))
    for code in codes:
        widths = np.array(
            [
                100 * np.median([cell.errors.get(code, 0) / cell.requests for cell in cells])
                for cells in data.facts.values()
            ]
        )
        colour = CODE_COLOURS.get(code) or next(others)
        axes.barh(range(len(widths)), widths, left=left, height=0.7, label=code, color=colour)
        left += widths
    axes.set_xlabel("Requests that did not end with OK (%)")


def with_caches(data: PlotData) -> bool:
    """Return whether replicas had caches."""
    return any(cell.cache_lookups for cells in data.facts.values() for cell in cells)


def draw_trade_off(data: PlotData) -> Figure:
    """Draw one marker per arm: imbalance against cache hits, with the 99th percentile latency beside it."""
    figure = Figure(figsize=(data.width_in, 4.4), layout="constrained")
    axes = figure.subplots()
    points, texts = [], []
    for arm in data.arms:
        hits = data.values(arm, "cache.hit_share")
        if not len(hits):
            continue
        point = (float(np.median(data.values(arm, "spread.max_over_mean"))), 100 * float(np.median(hits)))
        style = {**arm_line(data.number(arm)), "linestyle": ""}
        axes.plot(*point, label=arm_title(arm, max_length=40), **style)
        points.append(point)
        p99_ms = data.values(arm, "latency_ms.p99")
        least = "≥ " if data.is_least(arm, "latency_ms.p99") else ""
        texts.append(f"p99 {least}{np.median(p99_ms):.3g} ms" if len(p99_ms) else "")
    axes.axvline(1, **FAIR)
    axes.margins(0.12)
    axes.set_ylim(-10, 115)
    axes.set_yticks(range(0, 101, 20))
    axes.set_xlabel("Busiest replica / fair share (ratio; 1 is even)")
    axes.set_ylabel("Requests that found their session cached (%)")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=data.abreast(3))
    write_beside(axes, points, texts)
    return figure


_MARKER_PX = 6.0
# Offset in points and alignment, best first: right of the marker, left, above, below.
_POSITIONS = (
    (8, 0, "left", "center"),
    (-8, 0, "right", "center"),
    (0, 8, "center", "bottom"),
    (0, -8, "center", "top"),
)


def write_beside(axes: Axes, points: Sequence[tuple[float, float]], texts: Sequence[str]) -> None:
    """Write each text beside its point (data coordinates), at the position that overlaps the others least."""
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()  # the layout decides the positions in pixels
    taken = [_around(*axes.transData.transform(point)) for point in points]
    for point, text in zip(points, texts, strict=True):
        candidates = []
        for x, y, horizontal, vertical in _POSITIONS:
            note = axes.annotate(
                text, point, (x, y), textcoords="offset points", ha=horizontal, va=vertical, fontsize=8
            )
            box = note.get_window_extent()
            outside = not (axes.bbox.contains(box.x0, box.y0) and axes.bbox.contains(box.x1, box.y1))
            candidates.append((sum(_overlap(box, other) for other in taken) + 1e6 * outside, note, box))
        best = min(candidates, key=lambda candidate: candidate[0])
        for candidate in candidates:
            if candidate is not best:
                candidate[1].remove()
        taken.append(best[2])


def _around(x: float, y: float) -> Bbox:
    return Bbox.from_extents(x - _MARKER_PX, y - _MARKER_PX, x + _MARKER_PX, y + _MARKER_PX)


def _overlap(one: Bbox, other: Bbox) -> float:
    common = Bbox.intersection(one, other)
    return 0.0 if common is None else common.width * common.height


MAX_METRICS = 6
ALWAYS = ("spread.max_over_mean", "latency_ms.p99")
LOG_FROM = 8.0  # maximum / minimum of the factor
LOG_LATENCY_FROM = 20.0  # maximum / minimum latency in a panel
PINNED = 0.99  # minimum purity of sessions that stay on one replica
_MODEL = "random_placement.max_over_mean"

Point = tuple[float, Floats]


def with_sweep(data: PlotData) -> bool:
    """Return whether an arm sweeps a factor. What a search has tried is no sweep."""
    return data.experiment.search is None and bool(_factors(data))


def draw_sweep(data: PlotData) -> Figure:
    """Draw one panel per factor and metric, and one line per arm. A dashed line is a model's prediction."""
    wanted = [(factor, metric) for factor in _factors(data) for metric in _metrics(data, factor)]
    columns = min(len(wanted), data.abreast(2 if len(wanted) <= 4 else 3))
    rows = -(-len(wanted) // columns)
    figure = Figure(figsize=(data.width_in, 0.8 + 2.6 * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in grid[len(wanted) :]:
        unused.remove()
    handles: dict[str, Any] = {}
    for axes, (factor, metric) in zip(grid, wanted, strict=False):
        _panel(axes, data, factor, metric)
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=data.abreast(3))
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
            _mark_least(axes, data, _swept(data, base, factor), metric)
            if metric == "spread.max_over_mean" and _pinned(data, base):
                _placements(axes, data, base, factor, style)
        elif base in data.facts and len(values := data.values(base, metric)):
            flat = {**style, "marker": ""}
            axes.axhline(float(np.median(values)), label=arm_title(base, max_length=40), **flat)
    _scale(axes, data, factor, metric)


def _mark_least(axes: Axes, data: PlotData, swept: Sequence[tuple[float, str]], metric: str) -> None:
    """Mark the points that fall on failed requests."""
    marked = [(value, name) for value, name in swept if data.is_least(name, metric)]
    if marked:
        middles = [float(np.median(data.values(name, metric))) for _, name in marked]
        axes.plot([value for value, _ in marked], middles, label=AT_LEAST_IN_WORDS, **AT_LEAST)


def _placements(axes: Axes, data: PlotData, base: str, factor: str, style: Mapping[str, Any]) -> None:
    """Draw what random placement predicts: the mean, and the band in which nine of ten placements are.

    Each repeat is one placement, and has a dot of its own.
    """
    low, mean, high = (list(_points(data, base, factor, f"{_MODEL}{end}")) for end in ("_p5", "", "_p95"))
    xs = [value for value, _ in mean]
    middles = [[float(np.median(values)) for _, values in points] for points in (low, mean, high)]
    name = arm_title(base, max_length=40)
    axes.fill_between(
        xs,
        middles[0],
        middles[2],
        color=style["color"],
        alpha=0.15,
        linewidth=0,
        label=f"{name}: nine of ten random placements",
    )
    dashed = {**style, "linestyle": "--", "marker": "", "linewidth": 1.1}
    axes.plot(xs, middles[1], label=f"{name}: mean of random placements", **dashed)
    for value, repeats in _points(data, base, factor, "spread.max_over_mean"):
        dot = {**style, "linestyle": "", "markersize": 3.5, "markerfacecolor": "white", "alpha": 0.8}
        axes.plot([value] * len(repeats), repeats, **dot)


def _points(data: PlotData, base: str, factor: str, metric: str) -> Iterator[Point]:
    """Yield (value of the factor, the metric in each repeat), by value."""
    for value, name in _swept(data, base, factor):
        if len(values := data.values(name, metric)):
            yield value, values


def _swept(data: PlotData, base: str, factor: str) -> list[tuple[float, str]]:
    """Return (value of the factor, name of the arm as run), by value."""
    variants = [one for one in data.experiment.variants.values() if one.base == base and one.factor == factor]
    return sorted((float(one.value), one.name) for one in variants if one.value is not None)


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
    axes.set_title(headline_of(metric))
    axes.set_xlabel(
        f"{factor.removeprefix('options.')} ({_FACTOR_UNITS.get(factor.rpartition('_')[2], 'value')})"
    )
    axes.set_ylabel(f"Value ({unit})")


_FACTOR_UNITS = {"clients": "number", "workers": "number", "connections": "number", "ms": "ms", "s": "s"}
