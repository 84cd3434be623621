"""Plots of what events did: the whole load over time, and what each event cost in each arm."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from harness.metrics.event_metrics import NAMED_EVENTS
from harness.metrics.facts import CellFacts
from harness.metrics.metric import NS_PER_MS
from harness.report.event_marks import (
    Label,
    event_legend,
    event_title,
    label_of,
    mark_events,
    numbers_of,
    room_above,
)
from harness.report.plot_data import PlotData, median_and_range
from harness.report.plot_style import ARM_COLOURS, MARKERS, WIDTH_IN, arm_title, name_rows
from harness.report.plots_wait import log_latency

MAX_WIDE = 6  # arms that have the page's width each
_GOOD, _FAILED = "#77AADD", "#EE8866"
_P50, _P99 = "#222222", "#882255"
_TIME: dict[Label, str] = {"name": "Time (s since the start of measuring)", "number": "Time (s)"}
_PANELS = {
    "failed_requests": "Failed (requests)",
    "longest_gap_ms": "Longest gap of a session (ms)",
    "moved_over_needed": "Moved / had to move (ratio)",
}


def with_events(data: PlotData) -> bool:
    """Whether anything was changed while measuring."""
    return any(cell.events for cells in data.facts.values() for cell in cells)


def draw_over_time(data: PlotData) -> Figure:
    """Two panels an arm, of its first repeat: requests that came through and failed, and latency."""
    first = data.first_cells()
    label = label_of(data, MAX_WIDE)
    abreast = 1 if label == "name" else 2
    rows = -(-len(first) // abreast)
    figure = Figure(figsize=(WIDTH_IN, (2.3 if abreast == 1 else 1.9) * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, 2 * abreast, squeeze=False)
    panels = list(grid.flat)
    for unused in panels[2 * len(first) :]:
        unused.remove()
    waits = panels[1 : 2 * len(first) : 2]
    highest = max(_most_per_s(cell) for cell in first.values())
    for wait in waits[1:]:
        wait.sharey(waits[0])
    for (arm, cell), rate, wait in zip(first.items(), panels[::2], waits, strict=False):
        rate.set_title(arm_title(arm))
        wait.set_title(f"{arm_title(arm)}: latency" if abreast == 1 else "latency")
        _draw_rates(rate, cell, label)
        _draw_waits(wait, cell)
        # All alike, so that arms can be compared at a glance.
        rate.set_ylim(0, highest * room_above(data, label))
        for axes in (rate, wait):
            axes.set_xlabel(_TIME[label])
        if label == "number":
            wait.yaxis.set_minor_formatter(NullFormatter())
    handles = [handle for axes in panels[:2] for handle in axes.get_legend_handles_labels()[0]]
    events = event_legend(data) if label == "number" else []
    figure.legend(handles=[*handles, *events], loc="outside lower center", ncols=4)
    return figure


def _most_per_s(cell: CellFacts) -> float:
    series = cell.series
    assert series is not None
    return float((series.good + series.failed).max()) / series.width_s


def _draw_rates(axes: Axes, cell: CellFacts, label: Label) -> None:
    series = cell.series
    assert series is not None
    edges = np.append(series.starts_s, series.starts_s[-1] + series.width_s)
    good, failed = series.good / series.width_s, series.failed / series.width_s
    axes.stairs(good, edges, fill=True, color=_GOOD, label="ended with OK")
    axes.stairs(good + failed, edges, baseline=good, fill=True, color=_FAILED, label="failed")
    axes.set_ylabel("Requests (per second)")
    mark_events(axes, cell, label=label)
    axes.set_xlim(0, max(cell.window_s, series.width_s))


def _draw_waits(axes: Axes, cell: CellFacts) -> None:
    series = cell.series
    assert series is not None
    middles = series.starts_s + series.width_s / 2
    for percentile, colour, name in ((series.p50_ns, _P50, "median"), (series.p99_ns, _P99, "99 %")):
        line = "--" if colour == _P50 else "-"
        axes.plot(
            middles,
            percentile / NS_PER_MS,
            color=colour,
            linestyle=line,
            linewidth=1.2,
            label=f"latency: {name}",
        )
    log_latency(axes)
    mark_events(axes, cell, label="none")
    axes.set_ylabel("Latency (ms, log scale)")
    axes.set_xlim(0, max(cell.window_s, series.width_s))


def draw_recovery(data: PlotData) -> Figure:
    """An arm a row, a marker an event: failed requests, longest gap, moved / needed; whiskers: repeats."""
    figure = Figure(figsize=(WIDTH_IN, 1.4 + 0.42 * len(data.arms)), layout="constrained")
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    numbers = numbers_of(data)[:NAMED_EVENTS]
    for place, number in enumerate(numbers):
        shift = 0.6 * ((place + 0.5) / len(numbers) - 0.5)
        for axes, metric in zip(panels, _PANELS, strict=True):
            _draw_event(axes, data, number, metric, shift, event_title(data, number))
    for axes, label in zip(panels, _PANELS.values(), strict=True):
        axes.set_xlabel(label)
        axes.set_ylabel("Arm (name)")
        axes.set_xlim(0, 1.08 * max(axes.dataLim.x1, 0.1))
    name_rows(panels[0], data.arms)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _draw_event(axes: Axes, data: PlotData, number: int, metric: str, shift: float, label: str) -> None:
    found = [data.values(arm, f"event{number}.{metric}") for arm in data.arms]
    rows = [row for row, values in enumerate(found) if len(values)]
    ranges = [median_and_range(values) for values in found if len(values)]
    middle = np.array([middle for middle, _ in ranges])
    whiskers = np.array([whisker for _, whisker in ranges]).reshape(-1, 2).T
    axes.errorbar(
        middle,
        np.array(rows) + shift,
        xerr=whiskers if len(rows) else None,
        fmt=MARKERS[(number - 1) % len(MARKERS)],
        color=ARM_COLOURS[(number - 1) % len(ARM_COLOURS)],
        markersize=5,
        elinewidth=1,
        capsize=2,
        label=label,
    )
