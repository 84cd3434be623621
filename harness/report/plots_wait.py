"""Plots of latency, and of the replicas' queues."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatter

from harness.analysis.statistics import RANKS
from harness.analysis.window_series import Floats
from harness.metrics.metric import NS_PER_MS
from harness.report.plotting import (
    ARM_COLOURS,
    MARKERS,
    WIDTH_IN,
    PlotData,
    arm_line,
    arm_title,
    from_zero,
    fullest,
    median_and_range,
    name_rows,
    panels,
    replica_legend,
    replica_lines,
)

MAX_LINES = 6  # lines that readers can distinguish in one panel
MAX_PAIRS = 4  # arms: up to this number, each has a panel of queue time and one of requests in flight
_RANK_LABELS = dict(zip(RANKS, ("50", "90", "95", "99", "99.9", "max"), strict=True))
_ROW_RANKS = ("p50", "p90", "p99", "max")


def draw_latency(data: PlotData) -> Figure:
    """Draw latency percentiles per arm, from the planned and from the actual send.

    Values are medians over the repeats, whiskers their range. Up to MAX_LINES arms are lines over the
    percentiles. More arms are rows.
    """
    tables = {
        arm: (
            _table([cell.latency_ns for cell in cells]),
            _table([cell.latency_from_send_ns for cell in cells]),
        )
        for arm, cells in data.facts.items()
    }
    return _latency_lines(data, tables) if len(tables) <= MAX_LINES else _latency_rows(tables)


def _table(repeats: list[dict[str, float]]) -> Floats:
    """Return milliseconds, (repeats, ranks), at least 0.001, because a log axis has no zero."""
    table = np.array([[repeat[rank] / NS_PER_MS for rank in RANKS] for repeat in repeats])
    floored: Floats = np.maximum(table, 1e-3)
    return floored


def _latency_lines(data: PlotData, tables: Mapping[str, tuple[Floats, Floats]]) -> Figure:
    figure = Figure(figsize=(WIDTH_IN, 3.4 + 0.22 * math.ceil(len(tables) / 3)), layout="constrained")
    both = figure.subplots(1, 2, sharey=True)
    for index, (arm, pair) in enumerate(tables.items()):
        shift = 0.3 * ((index + 0.5) / len(tables) - 0.5)
        for axes, table in zip(both, pair, strict=True):
            middle, whiskers = median_and_range(table)
            axes.errorbar(
                np.arange(len(RANKS)) + shift,
                middle,
                whiskers,
                label=arm_title(arm, max_length=40),
                capsize=2.5,
                elinewidth=1,
                **arm_line(data.number(arm)),
            )
    for axes, title in zip(both, _TITLES, strict=True):
        axes.set_title(title)
        log_latency(axes)
        axes.set_xticks(range(len(RANKS)), _RANK_LABELS.values())
        axes.set_xlabel("Percentile of requests (%)")
        axes.set_ylabel("Latency (ms, log scale)")
    handles, labels = both[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


_TITLES = ("From the planned send", "From the actual send")


def log_latency(axes: Axes, axis: str = "y") -> None:
    """Give an axis of milliseconds a log scale with plain numbers; a small range has them between decades."""
    getattr(axes, f"set_{axis}scale")("log")
    scale = getattr(axes, f"{axis}axis")
    scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    scale.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.6)))
    axes.grid(which="minor", axis="y" if axis == "y" else "x", alpha=0.25)


def _latency_rows(tables: Mapping[str, tuple[Floats, Floats]]) -> Figure:
    figure = Figure(figsize=(WIDTH_IN, 1.2 + 0.28 * len(tables)), layout="constrained")
    both = figure.subplots(1, 2, sharey=True, sharex=True)
    rows = np.arange(len(tables))
    for number, rank in enumerate(_ROW_RANKS):
        column = list(RANKS).index(rank)
        for axes, side in zip(both, (0, 1), strict=True):
            ranges = [median_and_range(pair[side][:, column]) for pair in tables.values()]
            middle, whiskers = (np.array(values).T for values in zip(*ranges, strict=True))
            axes.errorbar(
                middle,
                rows,
                xerr=whiskers,
                fmt=MARKERS[number],
                color=ARM_COLOURS[number],
                label="max" if rank == "max" else f"{_RANK_LABELS[rank]} %",
                markersize=5,
                elinewidth=1,
                capsize=2,
            )
    for axes, title in zip(both, _TITLES, strict=True):
        axes.set_title(title)
        log_latency(axes, "x")
        axes.set_xlabel("Latency (ms, log scale)")
    name_rows(both[0], list(tables))
    both[1].set_ylabel("Arm (name)")
    handles, labels = both[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(_ROW_RANKS))
    return figure


def draw_queues(data: PlotData) -> Figure:
    """Draw each replica over time, in one repeat: 99th percentile of queue time, and mean requests in flight.

    More than MAX_PAIRS arms have queue time only.
    """
    return _queues_and_flights(data) if len(data.facts) <= MAX_PAIRS else _queues_alone(data)


def _queues_and_flights(data: PlotData) -> Figure:
    first = data.first_cells()
    figure = Figure(figsize=(WIDTH_IN, 2.4 * len(first) + 0.5), layout="constrained")
    grid = figure.subplots(len(first), 2, sharex=False, sharey="col", squeeze=False)
    for (arm, cell), (queue, in_flight) in zip(first.items(), grid, strict=True):
        replica_lines(queue, cell, cell.replica_series.queue_ns / NS_PER_MS)
        replica_lines(in_flight, cell, cell.replica_series.in_flight)
        queue.set_title(f"{arm}: queue time", loc="left")
        queue.set_ylabel("Queue time, p99 (ms)")
        in_flight.set_title(f"{arm}: in flight", loc="left")
        in_flight.set_ylabel("In flight, mean (requests)")
        for axes in (queue, in_flight):
            axes.set_xlabel("Time (s since the start of measuring)")
    from_zero(grid.flat)
    replica_legend(figure, fullest(grid[:, 0]))
    return figure


def _queues_alone(data: PlotData) -> Figure:
    figure, axes_of = panels(data.arms, columns=3, height_in=2.1)
    for arm, cell in data.first_cells().items():
        axes = axes_of[arm]
        replica_lines(axes, cell, cell.replica_series.queue_ns / NS_PER_MS)
        axes.set_ylabel("Queue time, p99 (ms)")
        axes.set_xlabel("Time (s since the start of measuring)")
    from_zero(axes_of.values())
    replica_legend(figure, fullest(axes_of.values()))
    return figure
