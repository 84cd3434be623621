"""Plots of latency, and of the replicas' queues."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatter

from harness.analysis.window_series import Floats
from harness.metrics.metric import NS_PER_MS, RANKS
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

Spreads = tuple[Floats, Floats]
Tables = Mapping[str, tuple[Spreads, Spreads]]  # arm -> from the planned send, from the actual send


def draw_latency(data: PlotData) -> Figure:
    """Draw latency percentiles per arm, from the planned and from the actual send.

    Values are medians over the repeats, whiskers their range. Up to MAX_LINES arms are lines over the
    percentiles. More arms are rows.
    """
    cells_of = data.facts
    every_cell = [cell for cells in cells_of.values() for cell in cells]
    ranks = [rank for rank in RANKS if any(rank in cell.latency_ns for cell in every_cell)]
    if len(cells_of) > MAX_LINES:
        ranks = [rank for rank in ranks if rank in _ROW_RANKS]
    tables = {
        arm: (
            _spreads([cell.latency_ns for cell in cells], ranks),
            _spreads([cell.latency_from_send_ns for cell in cells], ranks),
        )
        for arm, cells in cells_of.items()
    }
    return (_latency_lines if len(tables) <= MAX_LINES else _latency_rows)(data, tables, ranks)


def _spreads(repeats: Sequence[Mapping[str, float]], ranks: Sequence[str]) -> Spreads:
    """Return the median over the repeats, (ranks,), and whiskers to their range, (2, ranks), milliseconds.

    At least 0.001, because a log axis has no zero. NaN where no repeat has enough requests for a percentile.
    """
    spreads = np.full((3, len(ranks)), np.nan)
    for place, rank in enumerate(ranks):
        found = np.array([repeat[rank] / NS_PER_MS for repeat in repeats if rank in repeat])
        if len(found):
            middle, whiskers = median_and_range(np.maximum(found, 1e-3))
            spreads[:, place] = middle, *whiskers
    return spreads[0], spreads[1:]


def _latency_lines(data: PlotData, tables: Tables, ranks: Sequence[str]) -> Figure:
    figure = Figure(figsize=(WIDTH_IN, 3.4 + 0.22 * math.ceil(len(tables) / 3)), layout="constrained")
    both = figure.subplots(1, 2, sharey=True)
    for index, (arm, pair) in enumerate(tables.items()):
        shift = 0.3 * ((index + 0.5) / len(tables) - 0.5)
        for axes, (middle, whiskers) in zip(both, pair, strict=True):
            axes.errorbar(
                np.arange(len(ranks)) + shift,
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
        axes.set_xticks(range(len(ranks)), [_RANK_LABELS[rank] for rank in ranks])
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


def _latency_rows(_data: PlotData, tables: Tables, ranks: Sequence[str]) -> Figure:
    figure = Figure(figsize=(WIDTH_IN, 1.2 + 0.28 * len(tables)), layout="constrained")
    both = figure.subplots(1, 2, sharey=True, sharex=True)
    rows = np.arange(len(tables))
    for column, rank in enumerate(ranks):
        number = _ROW_RANKS.index(rank)
        for axes, side in zip(both, (0, 1), strict=True):
            axes.errorbar(
                [pair[side][0][column] for pair in tables.values()],
                rows,
                xerr=np.array([pair[side][1][:, column] for pair in tables.values()]).T,
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
    figure.legend(handles, labels, loc="outside lower center", ncols=len(ranks))
    return figure


def draw_queues(data: PlotData) -> Figure:
    """Draw each replica over time, in one repeat: longest queue time, and mean requests in flight.

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
        queue.set_ylabel("Longest queue time (ms)")
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
        axes.set_ylabel("Longest queue time (ms)")
        axes.set_xlabel("Time (s since the start of measuring)")
    from_zero(axes_of.values())
    replica_legend(figure, fullest(axes_of.values()))
    return figure
