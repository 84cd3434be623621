"""Plots of outcomes: errors and attempts, and cache hits against imbalance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from harness.report.plotting import (
    CODE_COLOURS,
    FAIR,
    OTHER_CODE_COLOURS,
    WIDTH_IN,
    PlotData,
    arm_line,
    arm_title,
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
    figure = Figure(figsize=(WIDTH_IN, 1.4 + 0.3 * len(data.facts)), layout="constrained")
    shares, attempts = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
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
    figure.legend(handles, labels, loc="outside lower center", ncols=min(5, max(1, len(labels))))
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
    figure = Figure(figsize=(WIDTH_IN, 4.4), layout="constrained")
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
        texts.append(f"p99 {np.median(data.values(arm, 'latency_ms.p99')):.3g} ms")
    axes.axvline(1, **FAIR)
    axes.margins(0.12)
    axes.set_ylim(-10, 115)
    axes.set_yticks(range(0, 101, 20))
    axes.set_xlabel("Busiest replica / fair share (ratio; 1 is even)")
    axes.set_ylabel("Requests that found their session cached (%)")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
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
