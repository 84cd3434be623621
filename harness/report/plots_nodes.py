"""Plots of the proxy's nodes and of zones: who had which share of the requests, and which of them crossed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from harness.events.registry import kind_of
from harness.metrics.facts import CellFacts
from harness.report.event_marks import event_legend, label_of, mark_events, room_above
from harness.report.plotting import UNIT_COLOURS, PlotData, fullest, name_rows, panels, replica_legend


def with_nodes_that_change(data: PlotData) -> bool:
    """Return whether something happened to one of several nodes of a proxy."""
    cells = [cell for cells in data.facts.values() for cell in cells if cell.node_series is not None]
    return any(kind_of(event.do).aim == "proxy" for cell in cells for event in cell.events)


def draw_nodes_over_time(data: PlotData) -> Figure:
    """Draw areas: each proxy node's share of the requests of each time window, in one repeat."""
    first = {arm: cell for arm, cell in data.first_cells().items() if cell.node_series is not None}
    label = label_of(data, 6)
    columns = 2 if len(first) <= 6 else 3
    figure, axes_of = panels(
        replace(data, facts={arm: [first[arm]] for arm in first}), columns, height_in=2.4
    )
    for arm, cell in first.items():
        assert cell.node_series is not None
        axes, requests = axes_of[arm], cell.node_series.requests
        total = requests.sum(axis=1, keepdims=True)
        shares = np.divide(100 * requests, total, out=np.zeros_like(requests), where=total > 0)
        edges = np.append(cell.replica_series.starts_s, cell.window_s)
        floor = np.zeros(len(shares))
        for number, node in enumerate(cell.node_series.nodes):
            top = floor + shares[:, number]
            colour = UNIT_COLOURS[number % len(UNIT_COLOURS)]
            axes.stairs(top, edges, baseline=floor, fill=True, color=colour, label=node)
            floor = top
        axes.set_ylim(0, 100 * room_above(data, label))
        axes.set_yticks([0, 25, 50, 75, 100])
        mark_events(axes, cell, label=label, shaded=False)
        axes.set_xlabel("Time (s since the start of measuring)")
        axes.set_ylabel("Requests (%)")
    more = event_legend(data) if label == "number" else []
    replica_legend(data, figure, fullest(axes_of.values()), more)
    return figure


def with_zones(data: PlotData) -> bool:
    """Return whether the zones of an arm's requests are known."""
    return any(cell.zone_requests for cells in data.facts.values() for cell in cells)


def draw_zones(data: PlotData) -> Figure:
    """Draw one bar per arm with zones: the share of its requests that went from each zone to each zone.

    Requests that stayed in their zone come first, so the edge of the hatched part is the share that stayed.
    """
    shares = {arm: found for arm in data.arms if (found := _zone_shares(data.facts[arm]))}
    pairs = sorted(
        {pair for found in shares.values() for pair in found}, key=lambda pair: (_crosses(pair), pair)
    )
    zones = sorted({zone for pair in pairs for zone in pair})
    figure = Figure(figsize=(data.width_in, 1.4 + 0.5 * len(shares)), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(shares))
    for pair in pairs:
        of, to = pair
        width = np.array([found.get(pair, 0.0) for found in shares.values()])
        axes.barh(
            np.arange(len(shares)),
            width,
            left=left,
            height=0.7,
            label=f"{of} to {to}",
            color=UNIT_COLOURS[zones.index(of) % len(UNIT_COLOURS)],
            hatch="///" if _crosses(pair) else "",
            edgecolor="white",
            linewidth=0.4,
        )
        left += width
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, 100)
    axes.set_xlabel("Answered requests (%)")
    name_rows(axes, list(shares))
    figure.legend(loc="outside lower center", ncols=data.abreast(6))
    return figure


def _crosses(pair: tuple[str, str]) -> bool:
    return pair[0] != pair[1]


def _zone_shares(cells: Sequence[CellFacts]) -> dict[tuple[str, str], float]:
    """Return each pair of zones -> its share of the requests of all repeats together, in %."""
    sums: Counter[tuple[str, str]] = Counter()
    for cell in cells:
        sums.update(cell.zone_requests or {})
    return {pair: 100 * count / sums.total() for pair, count in sums.items()}
