"""Plots of where requests went: shares per replica, over time, by client and by unit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from harness.analysis.replica_ranks import replicas_differ
from harness.analysis.window_series import Floats
from harness.metrics.facts import CellFacts
from harness.report.event_marks import event_legend, label_of, mark_events, room_above
from harness.report.plotting import (
    FAIR,
    UNIT_COLOURS,
    PlotData,
    from_zero,
    fullest,
    median_and_range,
    name_rows,
    panels,
    replica_bar,
    replica_legend,
    replica_lines,
)

MAX_BARS = 40  # in a panel of half the page's width
MAX_NAMED = 8  # replicas in a legend
RANK_BAR: Any = {"color": "#BBBBBB", "edgecolor": "white", "linewidth": 0.4}


def draw_share_per_replica(data: PlotData) -> Figure:
    """Draw bars: each repeat's shares, then their medians with the range as whiskers.

    Where the experiment does not tell its replicas apart, chance decides which one is the busiest of a
    repeat. Then medians by name would be even although every repeat is uneven, so the bars of a repeat stand
    in the order of their rank, and the medians are of ranks. Only medians are drawn where bars would be too
    many.
    """
    cells_of = data.facts
    replicas = max(len(cell.replica_requests) for cells in cells_of.values() for cell in cells)
    groups = max(len(cells) + 1 for cells in cells_of.values())
    apart = replicas * groups <= MAX_BARS
    by_rank = not replicas_differ(data.experiment)
    columns = 1 if replicas > MAX_BARS // 2 else 2
    many = len(cells_of) > 6
    figure, axes_of = panels(data, columns=columns + many, height_in=2.0 if many else 2.5)
    for arm, cells in cells_of.items():
        axes = axes_of[arm]
        repeats = [_shares(cell, by_rank) for cell in cells] if apart or len(cells) == 1 else []
        for group, shares in enumerate(repeats):
            _share_bars(axes, shares, group * (replicas + 1))
        if len(cells) > 1:
            _median_bars(axes, cells, by_rank, len(repeats) * (replicas + 1))
        axes.axhline(100 / len(cells[0].replica_requests), **FAIR)
        axes.grid(visible=False, axis="x")
        axes.set_ylabel("Requests (%)")
        if len(cells) > 1 and repeats:
            _name_groups(axes, [*(str(cell.repeat) for cell in cells), "median"], replicas)
        else:
            _name_bars(axes, replicas, by_rank)
    _share_legend(data, figure, replicas if replicas <= MAX_NAMED else 0, by_rank and groups > 2)
    return figure


def _shares(cell: CellFacts, by_rank: bool) -> list[tuple[int, float]]:
    """Return (index of the replica, its share in %) in the order of the bars."""
    counts = _counts(cell)
    shares = [(number, 100 * count / sum(counts)) for number, count in enumerate(counts)]
    return sorted(shares, key=lambda one: -one[1]) if by_rank else shares


def _share_bars(axes: Axes, shares: Sequence[tuple[int, float]], first_x: int) -> None:
    for place, (number, height) in enumerate(shares):
        axes.bar(first_x + place, height, width=0.9, **replica_bar(number))


def _median_bars(axes: Axes, cells: Sequence[CellFacts], by_rank: bool, first_x: int) -> None:
    """Draw the medians over the repeats, with their range. Ranks have no name, and so one colour."""
    shares = np.array([[share for _, share in _shares(cell, by_rank)] for cell in cells])
    middle, whiskers = median_and_range(shares)
    for place, height in enumerate(middle):
        style = RANK_BAR if by_rank else replica_bar(place)
        axes.bar(first_x + place, height, width=0.9, **style)
    xs = first_x + np.arange(len(middle))
    axes.errorbar(xs, middle, whiskers, fmt="none", ecolor="#333333", elinewidth=1, capsize=2.5)


def _name_bars(axes: Axes, replicas: int, by_rank: bool) -> None:
    """Name the bars of a panel that has one for each replica."""
    axes.set_xlim(-0.6, replicas - 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=16 if replicas <= 16 else 24, integer=True))
    if by_rank:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{place + 1:g}"))
    axes.set_xlabel("Rank (1: the busiest replica)" if by_rank else "Replica (number)")


def _share_legend(data: PlotData, figure: Figure, replicas: int, with_ranks: bool) -> None:
    handles: list[Patch | Line2D] = [Line2D([], [], label="fair share", **FAIR)]
    handles += [_patch(f"replica-{number}", replica_bar(number)) for number in range(replicas)]
    if with_ranks:
        handles.append(_patch("median of a rank", RANK_BAR))
    columns = data.abreast(len(handles) if len(handles) <= 8 else 5)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def draw_share_over_time(data: PlotData) -> Figure:
    """Draw one line per replica: its share of the requests of each time window, in one repeat."""
    arms = len(data.facts)
    columns = min(arms, 2) if arms <= 6 else 3
    label = label_of(data, 6)
    figure, axes_of = panels(data, columns=columns, height_in=2.6 if arms <= 6 else 2.1)
    for arm, cell in data.first_cells().items():
        axes, requests = axes_of[arm], cell.replica_series.requests
        total = requests.sum(axis=1, keepdims=True)
        shares = np.divide(100 * requests, total, out=np.full_like(requests, math.nan), where=total > 0)
        replica_lines(axes, cell, shares)
        _fair_line(axes, cell)
        mark_events(axes, cell, label=label)
        axes.set_xlabel("Time (s since the start of measuring)")
        axes.set_ylabel("Requests (%)")
    from_zero(axes_of.values(), room=room_above(data, label))
    replica_legend(data, figure, fullest(axes_of.values()), event_legend(data) if label == "number" else [])
    return figure


def _fair_line(axes: Axes, cell: CellFacts) -> None:
    """Draw the fair share; it changes in steps when replicas join or leave."""
    present = [cell.initial_replicas, *(event.present for event in cell.events)]
    edges_s = [0.0, *(event.at_s for event in cell.events), cell.window_s]
    fair = [100 / max(1, count) for count in present]
    axes.plot(edges_s, [*fair, fair[-1]], drawstyle="steps-post", label="fair share", **FAIR)


def draw_clients_by_replica(data: PlotData) -> Figure:
    """Draw a heat map: each client's share of requests on each replica, in one repeat."""
    first = data.first_cells()
    clients = max(len(cell.client_requests) for cell in first.values())
    tallest = 7.0 if len(first) <= 3 else 3.5 if len(first) <= 6 else 2.4
    height_in = min(tallest, max(2.1, 0.9 + 0.11 * clients))
    figure, axes_of = panels(data, columns=3 if len(first) <= 6 else 4, height_in=height_in, sharey=False)
    image: Any = None
    for arm, cell in first.items():
        axes = axes_of[arm]
        counts = np.array(list(cell.client_requests.values()), dtype=float)
        total = counts.sum(axis=1, keepdims=True)
        shares = np.divide(100 * counts, total, out=np.zeros_like(counts), where=total > 0)
        image = axes.imshow(
            shares, aspect="auto", interpolation="nearest", cmap="cividis", vmin=0, vmax=100, origin="upper"
        )
        axes.grid(visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        _client_ticks(axes, list(cell.client_requests))
        axes.set_xlabel("Replica (number)")
        axes.set_ylabel("Client (number)")
    aspect = 7 * figure.get_figheight()
    colours = figure.colorbar(image, ax=list(axes_of.values()), shrink=0.9, pad=0.02, aspect=aspect)
    colours.set_label("Share of the client's requests (%)")
    return figure


def _counts(cell: CellFacts) -> list[int]:
    return list(cell.replica_requests.values())


def _patch(label: str, bar: Mapping[str, Any]) -> Patch:
    """Return the handle of a legend for bars of that style."""
    style = dict(bar)
    return Patch(label=label, facecolor=style.pop("color"), **style)


def _name_groups(axes: Axes, names: Sequence[str], replicas: int) -> None:
    middles = [number * (replicas + 1) + (replicas - 1) / 2 for number in range(len(names))]
    axes.set_xticks(middles, names)
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel("Repeat (number; one bar a replica)")


def _client_ticks(axes: Axes, clients: Sequence[int]) -> None:
    step = math.ceil(len(clients) / 12)
    rows = list(range(0, len(clients), step))
    axes.set_yticks(rows, [str(clients[row]) for row in rows])


UNITS = {
    "connections": "connections",
    "sessions": "sessions",
    "spread": "RPCs",
    "messages": "messages",
    "busy_time": "busy time",
}
MIN_DIFFERENCE = 0.1  # of busiest / fair share: readers do not see a smaller one


def units_differ(data: PlotData) -> bool:
    """Return whether there are streams, or an arm whose spread depends on the unit."""
    return any(cell.streams.count for cells in data.facts.values() for cell in cells) or any(
        np.ptp([np.median(values) for values in _by_unit(data, arm).values()]) > MIN_DIFFERENCE
        for arm in data.arms
    )


def draw_spread_by_unit(data: PlotData) -> Figure:
    """Draw one bar per arm and unit: the busiest replica's amount / the fair share."""
    figure = Figure(figsize=(data.width_in, 1.2 + 0.62 * len(data.facts)), layout="constrained")
    axes = figure.subplots()
    thickness = 0.84 / len(UNITS)
    for number, (unit, label) in enumerate(UNITS.items()):
        rows = [
            (row, found[unit]) for row, arm in enumerate(data.arms) if unit in (found := _by_unit(data, arm))
        ]
        if not rows:
            continue
        ranges = [median_and_range(values) for _, values in rows]
        middle, whiskers = (np.array(column).T for column in zip(*ranges, strict=True))
        axes.barh(
            [row + (number - (len(UNITS) - 1) / 2) * thickness for row, _ in rows],
            middle,
            height=thickness,
            xerr=whiskers,
            label=label,
            color=UNIT_COLOURS[number],
            edgecolor="white",
            linewidth=0.4,
            error_kw={"ecolor": "#333333", "elinewidth": 0.8, "capsize": 1.5},
        )
    axes.axvline(1, **FAIR)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(left=0)
    axes.set_xlabel("Busiest replica / fair share (ratio)")
    name_rows(axes, data.arms)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=data.abreast(len(UNITS) + 1))
    return figure


def _by_unit(data: PlotData, arm: str) -> dict[str, Floats]:
    found = {unit: data.values(arm, f"{unit}.max_over_mean") for unit in UNITS}
    return {unit: values for unit, values in found.items() if len(values)}
