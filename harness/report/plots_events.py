"""Plots of events: the whole load over time, sessions over time, and the cost of each event in each arm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter

from harness.analysis.window_series import Floats
from harness.metrics.event_metrics import NAMED_EVENTS
from harness.metrics.facts import CellFacts, WindowSeries
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
from harness.report.plots_wait import log_latency
from harness.report.plotting import (
    ARM_COLOURS,
    MARKERS,
    REPLICA_COLOURS,
    PlotData,
    arm_title,
    median_and_range,
    name_rows,
    panels,
)

MAX_WIDE = 6  # arms: up to this number, each has the whole width of the page
MAX_NAMED_REPLICAS = 8  # in the legend of the ribbon
MAX_NAMED_ARMS = 4  # arms: up to this number, ribbons are large enough for the names of events
_WHITE = np.ones(3)
_TINT = 0.45  # share of the replica's colour, where a session waits for its next answer
_GOOD, _FAILED = "#77AADD", "#EE8866"
_P50, _MAX, _PLANNED = "#222222", "#882255", "#222222"
_TIME: dict[Label, str] = {"name": "Time (s since the start of measuring)", "number": "Time (s)"}
_PANELS = {
    "failed_requests": "Failed (requests)",
    "longest_gap_ms": "Longest gap of a session (ms)",
    "moved_over_needed": "Moved / had to move (ratio)",
}


def with_events(data: PlotData) -> bool:
    """Return whether an event happened while measuring."""
    return any(cell.events for cells in data.facts.values() for cell in cells)


def changing(data: PlotData) -> bool:
    """Return whether something changed while measuring: an event happened, or the rate changed."""
    return with_events(data) or any(cell.rate for cells in data.facts.values() for cell in cells)


def draw_over_time(data: PlotData) -> Figure:
    """Draw two panels per arm, of its first repeat: requests with OK and failed requests; latency."""
    first = data.first_cells()
    label = label_of(data, MAX_WIDE)
    abreast = 1 if label == "name" or data.narrow else 2
    rows = -(-len(first) // abreast)
    height_in = 4.2 if data.narrow else 2.3 if abreast == 1 else 1.9
    figure = Figure(figsize=(data.width_in, height_in * rows + 0.5), layout="constrained")
    grid = (
        figure.subplots(2 * rows, 1, squeeze=False)
        if data.narrow
        else figure.subplots(rows, 2 * abreast, squeeze=False)
    )
    flat = list(grid.flat)
    for unused in flat[2 * len(first) :]:
        unused.remove()
    latencies = flat[1 : 2 * len(first) : 2]
    highest = max(_max_rate_per_s(cell) for cell in first.values())
    for latency in latencies[1:]:
        latency.sharey(latencies[0])
    for (arm, cell), rate, latency in zip(first.items(), flat[::2], latencies, strict=False):
        rate.set_title(arm_title(arm))
        latency.set_title(f"{arm_title(arm)}: latency" if abreast == 1 else "latency")
        _draw_rates(rate, cell, label)
        _draw_latencies(latency, cell)
        # All arms have the same scale, so that readers can compare them.
        rate.set_ylim(0, highest * room_above(data, label))
        for axes in (rate, latency):
            axes.set_xlabel(_TIME[label])
        if label == "number":
            latency.yaxis.set_minor_formatter(NullFormatter())
    handles = [handle for axes in flat[:2] for handle in axes.get_legend_handles_labels()[0]]
    events = event_legend(data) if label == "number" else []
    figure.legend(
        handles=[*handles, *events], loc="outside lower center", ncols=data.abreast(6) if data.narrow else 4
    )
    return figure


def _max_rate_per_s(cell: CellFacts) -> float:
    series = cell.series
    assert series is not None
    planned = 0.0 if cell.rate is None else float(cell.rate.planned_per_s.max())
    return max(planned, float((series.good + series.failed).max()) / series.width_s)


def _draw_rates(axes: Axes, cell: CellFacts, label: Label) -> None:
    series = cell.series
    assert series is not None
    edges = np.append(series.starts_s, series.starts_s[-1] + series.width_s)
    good, failed = series.good / series.width_s, series.failed / series.width_s
    axes.stairs(good, edges, fill=True, color=_GOOD, label="ended with OK")
    axes.stairs(good + failed, edges, baseline=good, fill=True, color=_FAILED, label="failed")
    if cell.rate is not None:
        axes.stairs(cell.rate.planned_per_s, edges, color=_PLANNED, linewidth=1.2, label="planned")
    axes.set_ylabel("Requests (per second)")
    mark_events(axes, cell, label=label)
    axes.set_xlim(0, max(cell.window_s, series.width_s))


def _draw_latencies(axes: Axes, cell: CellFacts) -> None:
    series = cell.series
    assert series is not None
    middles = series.starts_s + series.width_s / 2
    for latency_ns, colour, name in ((series.p50_ns, _P50, "median"), (series.max_ns, _MAX, "slowest")):
        line = "--" if colour == _P50 else "-"
        axes.plot(
            middles,
            latency_ns / NS_PER_MS,
            color=colour,
            linestyle=line,
            linewidth=1.2,
            label=f"latency: {name}",
        )
    log_latency(axes)
    mark_events(axes, cell, label="none")
    axes.set_ylabel("Latency (ms, log scale)")
    axes.set_xlim(0, max(cell.window_s, series.width_s))


def draw_session_ribbon(data: PlotData) -> Figure:
    """Draw one panel per arm, of its first repeat: one row per session, in the colours of its replicas."""
    first = data.first_cells()
    few = len(first) <= MAX_NAMED_ARMS
    figure, axes_of = panels(data, columns=2 if len(first) <= 6 else 3, height_in=3.0 if few else 2.4)
    label = label_of(data, MAX_NAMED_ARMS)
    for arm, cell in first.items():
        _draw_ribbon(axes_of[arm], cell, label)
        rows = len(cell.series.sessions) if cell.series else 0
        axes_of[arm].set_ylim(rows - 0.5, rows * (1 - room_above(data, label)) - 0.5)
    events = event_legend(data) if label == "number" else []
    _ribbon_legend(data, figure, max(len(cell.replica_requests) for cell in first.values()), events)
    return figure


def _draw_ribbon(axes: Axes, cell: CellFacts, label: Label) -> None:
    series = cell.series
    assert series is not None
    rows = len(series.sessions)
    end_s = series.starts_s[-1] + series.width_s
    axes.imshow(
        ribbon_colours(series),
        aspect="auto",
        interpolation="nearest",
        extent=(0, end_s, rows - 0.5, -0.5),
    )
    row, step = np.nonzero(series.failures)
    middles = series.starts_s[step] + series.width_s / 2
    axes.plot(middles, row, linestyle="", marker="x", color="white", markersize=3.6, markeredgewidth=2)
    axes.plot(middles, row, linestyle="", marker="x", color="black", markersize=3, markeredgewidth=0.9)
    mark_events(axes, cell, label=label, shaded=False)
    axes.set_xlim(0, end_s)
    axes.grid(visible=False)
    axes.tick_params(left=False, labelleft=False)
    axes.set_xlabel("Time (s since the start of measuring)")
    axes.set_ylabel("Sessions (one a row)")


def ribbon_colours(series: WindowSeries) -> Floats:
    """Return red, green and blue of every session and step, (sessions, steps, 3).

    A step with an answer has the colour of the replica that gave the last one. A step between two answers has
    a tint of the earlier one's colour. Steps before the first and after the last answer are white.
    """
    colours = np.array([to_rgb(colour) for colour in REPLICA_COLOURS])
    answered = series.replicas >= 0
    steps = np.arange(answered.shape[1])
    latest = np.maximum.accumulate(np.where(answered, steps, -1), axis=1)
    last = np.where(answered, steps, -1).max(axis=1, keepdims=True)
    known = (latest >= 0) & (steps <= last)
    replica = np.take_along_axis(series.replicas, np.maximum(latest, 0), axis=1)
    full = colours[replica % len(colours)]
    tinted = _TINT * full + (1 - _TINT) * _WHITE
    shown: Floats = np.where(answered[..., None], full, np.where(known[..., None], tinted, _WHITE))
    return shown


def _ribbon_legend(data: PlotData, figure: Figure, replicas: int, events: Sequence[Line2D]) -> None:
    handles: list[Patch | Line2D] = [
        Patch(color=REPLICA_COLOURS[number], label=f"replica-{number}")
        for number in range(min(replicas, MAX_NAMED_REPLICAS))
    ]
    cross = Line2D([], [], label="a request failed", marker="x", color="black", markersize=4, linestyle="")
    handles.append(cross)
    figure.legend(
        handles=[*handles, *events], loc="outside lower center", ncols=min(data.abreast(5), len(handles))
    )


def draw_recovery(data: PlotData) -> Figure:
    """Draw one row per arm and one marker per event: failed requests, longest gap, moved / needed.

    Markers are medians over the repeats, whiskers are their range.
    """
    rows = len(_PANELS) if data.narrow else 1
    figure = Figure(figsize=(data.width_in, rows * (1.4 + 0.42 * len(data.arms))), layout="constrained")
    columns = figure.subplots(rows, len(_PANELS) // rows, sharey=True)
    numbers = numbers_of(data)[:NAMED_EVENTS]
    for index, number in enumerate(numbers):
        shift = 0.6 * ((index + 0.5) / len(numbers) - 0.5)
        for axes, metric in zip(columns, _PANELS, strict=True):
            _draw_event(axes, data, number, metric, shift, event_title(data, number))
    for axes, label in zip(columns, _PANELS.values(), strict=True):
        axes.set_xlabel(label)
        axes.set_ylabel("Arm (name)")
        axes.set_xlim(0, 1.08 * max(axes.dataLim.x1, 0.1))
    name_rows(columns[0], data.arms)
    handles, labels = columns[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=data.abreast(3))
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
