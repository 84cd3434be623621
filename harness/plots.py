"""PLOTS: what a run looks like, by name. Each is drawn from CellFacts alone, as PNG and SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatter, MaxNLocator

from harness.facts import CellFacts
from harness.metrics import NS_PER_MS
from harness.plot_style import (
    RC,
    WIDTH_IN,
    arm_line,
    arm_title,
    panels,
    replica_bar,
    replica_legend,
    replica_line,
)
from harness.ranks import RANKS
from harness.timeline import Floats

MOST_BARS = 40  # in a panel of half the width
MOST_NAMED = 8  # replicas in a legend

# Arm -> its cells, none of them empty.
Facts = Mapping[str, Sequence[CellFacts]]


@dataclass(frozen=True)
class Plot:
    """`draw` makes the figure; `caption` says what it shows and how to read it."""

    draw: Callable[[Facts], Figure]
    caption: str


def draw_plots(facts: Mapping[str, Sequence[CellFacts]], folder: Path) -> dict[str, Path]:
    """Draw every plot into `folder` as <name>.png and <name>.svg; plot name -> path of the SVG.

    Arms and cells without an answered request are left out; without any, nothing is drawn.
    """
    drawable = {arm: [cell for cell in cells if sum(_counts(cell))] for arm, cells in facts.items()}
    drawable = {arm: cells for arm, cells in drawable.items() if cells}
    folder.mkdir(exist_ok=True)
    if not drawable:
        return {}
    with mpl.rc_context(RC):
        for name, plot in PLOTS.items():
            figure = plot.draw(drawable)
            figure.savefig(folder / f"{name}.png", metadata={"Software": None})
            figure.set_layout_engine("none")  # laid out once is enough
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    return {name: folder / f"{name}.svg" for name in PLOTS}


def draw_share_per_replica(facts: Facts) -> Figure:
    """Bars: every repeat's shares, then their medians with the range as whiskers; dashed: the fair share.

    Repeats are shown apart because which replica is busiest may be chance: the medians alone would hide
    that one always is. Where bars would be too many, the medians stand alone.
    """
    replicas = _most_replicas(facts)
    bars = replicas * max(len(cells) + 1 for cells in facts.values())
    figure, axes_of = panels(list(facts), columns=2 if bars <= MOST_BARS else 1, height_in=2.5)
    for arm, cells in facts.items():
        axes = axes_of[arm]
        shares = 100 * np.array([np.divide(_counts(cell), sum(_counts(cell))) for cell in cells])
        groups = [*shares] if bars <= MOST_BARS and len(cells) > 1 else []
        for group, heights in enumerate(groups):
            _share_bars(axes, heights, group * (replicas + 1))
        place = len(groups) * (replicas + 1)
        middle = np.median(shares, axis=0)
        _share_bars(axes, middle, place, labelled=True)
        whiskers = np.array([middle - shares.min(axis=0), shares.max(axis=0) - middle])
        places = place + np.arange(len(middle))
        axes.errorbar(places, middle, whiskers, fmt="none", ecolor="#333333", elinewidth=1, capsize=2.5)
        axes.axhline(100 / len(middle), color="#333333", linestyle="--", linewidth=1, label="fair share")
        axes.grid(visible=False, axis="x")
        axes.set_ylabel("Share of requests (%)")
        if groups:
            _name_groups(axes, [*(f"repeat {cell.repeat}" for cell in cells), "median"], replicas)
        else:
            axes.set_xlim(-0.6, len(middle) - 0.4)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=16 if replicas <= 16 else 24, integer=True))
            axes.set_xlabel("Replica (number)")
    replica_legend(figure, next(iter(axes_of.values())))
    return figure


def _share_bars(axes: Axes, heights: Floats, place: int, *, labelled: bool = False) -> None:
    for number, height in enumerate(heights):
        label = f"replica-{number}" if labelled and len(heights) <= MOST_NAMED else None
        axes.bar(place + number, height, width=0.9, label=label, **replica_bar(number))


def _name_groups(axes: Axes, names: Sequence[str], replicas: int) -> None:
    middles = [number * (replicas + 1) + (replicas - 1) / 2 for number in range(len(names))]
    axes.set_xticks(middles, names)
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel("Repeat (number; one bar a replica)")


def draw_share_over_time(facts: Facts) -> Figure:
    """One line per replica: its share of the requests of each time window, in one repeat."""
    figure, axes_of = panels(list(facts), columns=2 if len(facts) > 1 else 1, height_in=2.6)
    for arm, cells in facts.items():
        axes, timeline = axes_of[arm], cells[0].timeline
        total = timeline.requests.sum(axis=1, keepdims=True)
        shares = np.divide(
            100 * timeline.requests, total, out=np.full_like(timeline.requests, math.nan), where=total > 0
        )
        _replica_lines(axes, cells[0], shares)
        axes.axhline(100 / shares.shape[1], color="#333333", linestyle="--", linewidth=1, label="fair share")
        axes.set_xlabel("Time since the start of measuring (s)")
        axes.set_ylabel("Share of requests (%)")
    _from_zero(axes_of.values())
    replica_legend(figure, _fullest(axes_of.values()))
    return figure


def draw_clients_by_replica(facts: Facts) -> Figure:
    """A heat map: each client's share of requests on each replica, in one repeat."""
    clients = max(len(cells[0].client_requests) for cells in facts.values())
    height_in = min(7.0, max(2.4, 0.9 + 0.11 * clients))
    figure, axes_of = panels(list(facts), columns=3, height_in=height_in, sharey=False)
    image: Any = None
    for arm, cells in facts.items():
        axes = axes_of[arm]
        counts = np.array(list(cells[0].client_requests.values()), dtype=float)
        total = counts.sum(axis=1, keepdims=True)
        shares = np.divide(100 * counts, total, out=np.zeros_like(counts), where=total > 0)
        image = axes.imshow(
            shares, aspect="auto", interpolation="nearest", cmap="cividis", vmin=0, vmax=100, origin="upper"
        )
        axes.grid(visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        _client_ticks(axes, list(cells[0].client_requests))
        axes.set_xlabel("Replica (number)")
        axes.set_ylabel("Client (number)")
    thin = 7 * figure.get_figheight()
    colours = figure.colorbar(image, ax=list(axes_of.values()), shrink=0.9, pad=0.02, aspect=thin)
    colours.set_label("Share of the client's requests (%)")
    return figure


def draw_latency(facts: Facts) -> Figure:
    """Latency percentiles per arm, from the planned and from the actual send; whiskers: range of repeats."""
    figure = Figure(figsize=(WIDTH_IN, 3.4 + 0.22 * math.ceil(len(facts) / 3)), layout="constrained")
    planned, sent = figure.subplots(1, 2, sharey=True)
    for number, (arm, cells) in enumerate(facts.items()):
        shift = 0.3 * ((number + 0.5) / len(facts) - 0.5)
        label = arm_title(arm, most=40)
        _percentile_line(planned, [cell.latency_ns for cell in cells], shift, number, label)
        _percentile_line(sent, [cell.latency_from_send_ns for cell in cells], shift, number, label)
    for axes, title in ((planned, "From the planned send"), (sent, "From the actual send")):
        axes.set_title(title)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        # Plain numbers between the decades, where the range is so small that they are needed.
        axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.6)))
        axes.grid(which="minor", axis="y", alpha=0.25)
        axes.set_xticks(range(len(RANKS)), ["50", "90", "95", "99", "99.9", "max"])
        axes.set_xlabel("Percentile of requests (%)")
        axes.set_ylabel("Latency (ms, log scale)")
    handles, labels = planned.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def draw_queues(facts: Facts) -> Figure:
    """Per replica over time, in one repeat: 99th percentile of queue time, and mean requests in flight."""
    figure = Figure(figsize=(WIDTH_IN, 2.4 * len(facts) + 0.5), layout="constrained")
    grid = figure.subplots(len(facts), 2, sharex=False, sharey="col", squeeze=False)
    for (arm, cells), (queue, in_flight) in zip(facts.items(), grid, strict=True):
        timeline = cells[0].timeline
        _replica_lines(queue, cells[0], timeline.queue_ns / NS_PER_MS)
        _replica_lines(in_flight, cells[0], timeline.in_flight)
        queue.set_title(f"{arm}: queue time", loc="left")
        queue.set_ylabel("Queue time, p99 (ms)")
        in_flight.set_title(f"{arm}: in flight", loc="left")
        in_flight.set_ylabel("In flight, mean (requests)")
        for axes in (queue, in_flight):
            axes.set_xlabel("Time since the start of measuring (s)")
    _from_zero(grid.flat)
    replica_legend(figure, _fullest(grid[:, 0]))
    return figure


PLOTS: dict[str, Plot] = {
    "share_per_replica": Plot(
        draw_share_per_replica,
        "Share of the answered requests that each replica got in each repeat; last the median over the "
        "repeats, whiskers from the lowest to the highest. The dashed line is the fair share.",
    ),
    "share_over_time": Plot(
        draw_share_over_time,
        "The same share over time, in the first recorded repeat. Even balancing keeps all lines at the "
        "dashed fair share.",
    ),
    "clients_by_replica": Plot(
        draw_clients_by_replica,
        "Where each client's requests went, in the first recorded repeat. One bright cell in a row: the "
        "client stayed on one replica. A row of one colour: its requests were spread evenly.",
    ),
    "latency": Plot(
        draw_latency,
        "Latency percentiles: median over the repeats, whiskers over their range. Left, counted from the "
        "planned send, as a user waits; right, from the actual send. Where the two differ, the load "
        "generator was late.",
    ),
    "queues": Plot(
        draw_queues,
        "What the replicas say about themselves, in the first recorded repeat: how long requests waited for "
        "a slot, and how many were inside. A line that climbs is a replica that gets more than it can serve.",
    ),
}


def _counts(cell: CellFacts) -> list[int]:
    return list(cell.replica_requests.values())


def _most_replicas(facts: Facts) -> int:
    return max(len(_counts(cell)) for cells in facts.values() for cell in cells)


def _fullest(panels: Iterable[Axes]) -> Axes:
    """The panel with the most lines: its legend covers the others."""
    return max(panels, key=lambda axes: len(axes.lines))


def _from_zero(panels: Iterable[Axes]) -> None:
    """Start the shared y axes at zero, once all is drawn: a limit that is set stops them from growing."""
    for axes in panels:
        axes.set_ylim(bottom=0)


def _replica_lines(axes: Axes, cell: CellFacts, table: Floats) -> None:
    middles = cell.timeline.starts_s + cell.timeline.width_s / 2
    for number, name in enumerate(cell.replica_requests):
        axes.plot(middles, table[:, number], label=name, **replica_line(number))


def _client_ticks(axes: Axes, clients: Sequence[int]) -> None:
    step = math.ceil(len(clients) / 12)
    places = list(range(0, len(clients), step))
    axes.set_yticks(places, [str(clients[place]) for place in places])


def _percentile_line(
    axes: Axes, repeats: Sequence[Mapping[str, float]], shift: float, number: int, label: str
) -> None:
    table = np.array([[repeat[rank] / NS_PER_MS for rank in RANKS] for repeat in repeats])
    table = np.maximum(table, 1e-3)  # a log axis has no zero
    middle = np.median(table, axis=0)
    whiskers = np.array([middle - table.min(axis=0), table.max(axis=0) - middle])
    axes.errorbar(
        np.arange(len(RANKS)) + shift,
        middle,
        whiskers,
        label=label,
        capsize=2.5,
        elinewidth=1,
        **arm_line(number),
    )
