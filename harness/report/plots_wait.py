"""Plots of latency, and of the replicas' queues."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogFormatter

from harness.analysis.window_series import Floats
from harness.metrics.facts import CellFacts
from harness.metrics.metric import NS_PER_MS, RANKS
from harness.report.plotting import (
    ARM_COLOURS,
    AT_LEAST,
    AT_LEAST_IN_WORDS,
    MARKERS,
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
    """Draw latency percentiles per arm: from the planned send, of OK alone, and from the actual send.

    Values are medians over the repeats, whiskers their range. A percentile that falls on failed requests is
    drawn at what it is at least, with a mark. The panel of OK alone is there where requests failed. Up to
    MAX_LINES arms are lines over the percentiles. More arms are rows.
    """
    every_cell = [cell for cells in data.facts.values() for cell in cells]
    ranks = [rank for rank in RANKS if any(rank in cell.latency.of_all_ns for cell in every_cell)]
    as_rows = len(data.facts) > MAX_LINES
    if as_rows:
        ranks = [rank for rank in ranks if rank in _ROW_RANKS]
    failed = any(cell.errors for cell in every_cell)
    titles = _TITLES if failed else (_TITLES[0], _TITLES[-1])
    tables = {arm: _sides(cells, ranks, failed) for arm, cells in data.facts.items()}
    return (_latency_rows if as_rows else _latency_lines)(data, tables, ranks, titles)


@dataclass(frozen=True)
class _Spreads:
    """One latency of an arm, milliseconds, at least 0.001, because a log axis has no zero.

    middle: (ranks,), medians over the repeats. whiskers: (2, ranks), to their range. is_least: (ranks,),
    whether the median falls on failed requests; then middle is what it is at least. NaN where no repeat has
    enough requests for a percentile.
    """

    middle: Floats
    whiskers: Floats
    is_least: npt.NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        repeats: Sequence[Mapping[str, float]],
        at_least: Sequence[Mapping[str, float]],
        ranks: Sequence[str],
    ) -> _Spreads:
        spreads, is_least = np.full((3, len(ranks)), np.nan), np.zeros(len(ranks), dtype=bool)
        for place, rank in enumerate(ranks):
            pairs = [
                (one[rank], least[rank]) for one, least in zip(repeats, at_least, strict=True) if rank in one
            ]
            if pairs:
                found, known = np.array(pairs).T
                values = np.where(np.isinf(found), known, found) / NS_PER_MS
                middle, whiskers = median_and_range(np.maximum(values, 1e-3))
                spreads[:, place] = middle, *whiskers
                is_least[place] = np.isinf(np.median(found))
        return cls(spreads[0], spreads[1:], is_least)


_Tables = Mapping[str, Sequence[_Spreads]]  # arm -> what each panel shows of it


def _sides(cells: Sequence[CellFacts], ranks: Sequence[str], failed: bool) -> list[_Spreads]:
    planned, sent = [cell.latency for cell in cells], [cell.latency_from_send for cell in cells]
    of_ok = [one.of_ok_ns for one in planned]
    return [
        _Spreads.of([one.of_all_ns for one in planned], [one.at_least_ns for one in planned], ranks),
        *([_Spreads.of(of_ok, of_ok, ranks)] if failed else []),
        _Spreads.of([one.of_all_ns for one in sent], [one.at_least_ns for one in sent], ranks),
    ]


def _latency_lines(data: PlotData, tables: _Tables, ranks: Sequence[str], titles: Sequence[str]) -> Figure:
    height_in = 3.0 * len(titles) if data.narrow else 3.4
    legend_in = 0.22 * math.ceil(len(tables) / data.abreast(3))
    figure = Figure(figsize=(data.width_in, height_in + legend_in), layout="constrained")
    sides = figure.subplots(*_shape(data, titles), sharey=True)
    for index, (arm, of_sides) in enumerate(tables.items()):
        xs = np.arange(len(ranks)) + 0.3 * ((index + 0.5) / len(tables) - 0.5)
        for axes, spread in zip(sides, of_sides, strict=True):
            axes.errorbar(
                xs,
                spread.middle,
                spread.whiskers,
                label=arm_title(arm, max_length=40),
                capsize=2.5,
                elinewidth=1,
                **arm_line(data.number(arm)),
            )
            axes.plot(xs[spread.is_least], spread.middle[spread.is_least], **AT_LEAST)
    for axes, title in zip(sides, titles, strict=True):
        axes.set_title(title)
        log_latency(axes)
        axes.set_xticks(range(len(ranks)), [_RANK_LABELS[rank] for rank in ranks])
        axes.set_xlabel("Percentile of requests (%)")
        axes.set_ylabel("Latency (ms, log scale)")
    _latency_legend(figure, sides[0], tables, columns=data.abreast(3))
    return figure


_TITLES = ("All, from the planned send", "OK alone, from the planned send", "All, from the actual send")


def _latency_legend(figure: Figure, axes: Axes, tables: _Tables, columns: int) -> None:
    handles, _ = axes.get_legend_handles_labels()
    if any(spread.is_least.any() for of_sides in tables.values() for spread in of_sides):
        handles.append(Line2D([], [], label=AT_LEAST_IN_WORDS, **AT_LEAST))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def log_latency(axes: Axes, axis: str = "y") -> None:
    """Give an axis of milliseconds a log scale with plain numbers; a small range has them between decades."""
    getattr(axes, f"set_{axis}scale")("log")
    scale = getattr(axes, f"{axis}axis")
    scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    scale.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.6)))
    axes.grid(which="minor", axis="y" if axis == "y" else "x", alpha=0.25)


def _shape(data: PlotData, titles: Sequence[str]) -> tuple[int, int]:
    """Return rows and columns of panels with these titles."""
    return (len(titles), 1) if data.narrow else (1, len(titles))


def _latency_rows(data: PlotData, tables: _Tables, ranks: Sequence[str], titles: Sequence[str]) -> Figure:
    rows, columns = _shape(data, titles)
    figure = Figure(figsize=(data.width_in, rows * (1.2 + 0.28 * len(tables))), layout="constrained")
    sides = figure.subplots(rows, columns, sharey=True, sharex=True)
    for column, rank in enumerate(ranks):
        for side, axes in enumerate(sides):
            _rank_markers(axes, [of_sides[side] for of_sides in tables.values()], column, rank)
    for axes, title in zip(sides, titles, strict=True):
        axes.set_title(title)
        log_latency(axes, "x")
        axes.set_xlabel("Latency (ms, log scale)")
    name_rows(sides[0], list(tables))
    for axes in sides[1:]:
        axes.set_ylabel("Arm (name)")
    _latency_legend(figure, sides[0], tables, columns=data.abreast(len(ranks) + 1))
    return figure


def _rank_markers(axes: Axes, spreads: Sequence[_Spreads], column: int, rank: str) -> None:
    """Draw one percentile of all arms, one a row."""
    number = _ROW_RANKS.index(rank)
    rows = np.arange(len(spreads))
    middle = np.array([spread.middle[column] for spread in spreads])
    axes.errorbar(
        middle,
        rows,
        xerr=np.array([spread.whiskers[:, column] for spread in spreads]).T,
        fmt=MARKERS[number],
        color=ARM_COLOURS[number],
        label="max" if rank == "max" else f"{_RANK_LABELS[rank]} %",
        markersize=5,
        elinewidth=1,
        capsize=2,
    )
    is_least = np.array([spread.is_least[column] for spread in spreads], dtype=bool)
    axes.plot(middle[is_least], rows[is_least], **{**AT_LEAST, "marker": r"$\rightarrow$"})


def draw_queues(data: PlotData) -> Figure:
    """Draw each replica over time, in one repeat: longest queue time, and mean requests in flight.

    More than MAX_PAIRS arms have queue time only, and so has a narrow figure.
    """
    pairs = len(data.facts) <= MAX_PAIRS and not data.narrow
    return _queues_and_flights(data) if pairs else _queues_alone(data)


def _queues_and_flights(data: PlotData) -> Figure:
    first = data.first_cells()
    figure = Figure(figsize=(data.width_in, 2.4 * len(first) + 0.5), layout="constrained")
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
    replica_legend(data, figure, fullest(grid[:, 0]))
    return figure


def _queues_alone(data: PlotData) -> Figure:
    figure, axes_of = panels(data, columns=3, height_in=2.1)
    for arm, cell in data.first_cells().items():
        axes = axes_of[arm]
        replica_lines(axes, cell, cell.replica_series.queue_ns / NS_PER_MS)
        axes.set_ylabel("Longest queue time (ms)")
        axes.set_xlabel("Time (s since the start of measuring)")
    from_zero(axes_of.values())
    replica_legend(data, figure, fullest(axes_of.values()))
    return figure
