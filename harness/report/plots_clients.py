"""A plot of which clients make a replica busy: a stacked bar per replica, and what the replica can serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.metrics.facts import CellFacts
from harness.plan.capacity import capacity_per_s, differs_by_client
from harness.report.plotting import UNIT_COLOURS, PlotData, arm_title, from_zero

MAX_REPLICAS = 16  # bars in a panel
MAX_NAMED = 7  # clients with a colour of their own: those with most requests
MIN_UNEVEN = 1.1  # busiest / fair share: below it there is nothing to explain
MAX_HEADROOM = 2.5  # times the tallest bar: a line further up would squeeze the bars
_OTHERS = "#DDDDDD"
_INK = "#111111"  # on the pale colours of clients, in both themes
_BAR: Any = {"width": 0.8, "edgecolor": "white", "linewidth": 0.5}
_CAPACITY: Any = {"color": "black", "linewidth": 1.6}
_NAMED_FROM = 0.07  # share of the panel's height: a lower part of a bar has no room for the client's number


def with_uneven_clients(data: PlotData) -> bool:
    """Return whether in some arm clients stay on few replicas, and one replica gets more than others."""
    return any(_is_uneven(data, arm) for arm in data.arms)


def _is_uneven(data: PlotData, arm: str) -> bool:
    replicas = len(data.facts[arm][0].replica_requests)
    spread, per_client = (data.values(arm, name) for name in ("spread.max_over_mean", "per_client.replicas"))
    return (
        1 < replicas <= MAX_REPLICAS
        and float(np.median(spread)) >= MIN_UNEVEN
        and float(np.median(per_client)) < replicas
    )


def draw_clients_on_replicas(data: PlotData) -> Figure:
    """Draw one panel per arm, of its first repeat: a bar per replica, the busiest first, stacked by client.

    A black line on each bar is what the replica can serve by its settings. It is left out where it would
    squeeze the bars.
    """
    first = {
        arm: cell for arm, cell in data.first_cells().items() if len(cell.replica_requests) <= MAX_REPLICAS
    }
    named = _busiest_clients(list(first.values()))
    capacities = {arm: _capacities(data, arm, cell) for arm, cell in first.items()}
    drawn, words = _which_capacities(list(first.values()), list(capacities.values()))
    columns = min(len(first), data.abreast(2 if len(first) <= 4 else 3))
    rows = -(-len(first) // columns)
    figure = Figure(
        figsize=(data.width_in, (3.1 if columns <= 2 else 2.4) * rows + 0.5), layout="constrained"
    )
    grid = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    for unused in grid[len(first) :]:
        unused.remove()
    for axes, (arm, cell) in zip(grid, first.items(), strict=False):
        axes.set_title(arm_title(arm))
        _draw_panel(axes, cell, named, capacities[arm] if drawn else {})
    from_zero(grid[: len(first)])
    for axes, cell in zip(grid, first.values(), strict=False):
        _number_parts(axes, cell, named)
    _legend(data, figure, named, words, drawn=drawn)
    return figure


def _which_capacities(
    cells: Sequence[CellFacts], capacities: Sequence[Mapping[str, float]]
) -> tuple[bool, str]:
    """Return whether what replicas can serve has room in the plot, and its name in the legend ("": none)."""
    known = [capacity for of_arm in capacities for capacity in of_arm.values()]
    if not known:
        return False, ""
    tallest = max(max(cell.replica_requests.values()) / cell.window_s for cell in cells)
    if min(known) <= MAX_HEADROOM * tallest:
        return True, "what the replica can serve"
    return False, f"above the plot: what a replica can serve ({min(known):,.4g}/s or more)"


def _busiest_clients(cells: Sequence[CellFacts]) -> list[int]:
    """Return the clients with a colour of their own, by their requests in the arm where they had most."""
    requests: dict[int, int] = {}
    for cell in cells:
        for client, counts in cell.client_requests.items():
            requests[client] = max(requests.get(client, 0), sum(counts))
    return sorted(requests, key=lambda client: (-requests[client], client))[:MAX_NAMED]


def _capacities(data: PlotData, arm: str, cell: CellFacts) -> dict[str, float]:
    """Return replica -> what it can serve, requests/s. Empty where replicas may have other settings."""
    if cell.replica_attempts is None:
        return {}  # the lab cannot read their ledgers: they are the user's own
    experiment = data.experiment
    if differs_by_client(experiment.replicas.service_time_ms):
        return {}  # how many requests a replica can serve depends on whose they are
    workload = experiment.workload_of(experiment.variants[arm].arm)
    work = {name: experiment.replicas.work_of(name) for name in cell.replica_requests}
    found = {name: capacity_per_s(settings, workload) for name, settings in work.items()}
    return {name: capacity for name, capacity in found.items() if capacity is not None}


def _ranked(cell: CellFacts) -> list[tuple[int, str]]:
    """Return (index, name) of the replicas, the busiest first."""
    names = enumerate(cell.replica_requests)
    return sorted(names, key=lambda one: -cell.replica_requests[one[1]])


def _parts(cell: CellFacts, replica: int, named: Sequence[int]) -> list[tuple[int | None, float]]:
    """Return (client, its requests/s on that replica) from the bottom up; last all others together (None)."""
    counts = {client: row[replica] for client, row in cell.client_requests.items() if row[replica]}
    parts: list[tuple[int | None, float]] = [
        (client, counts.pop(client) / cell.window_s) for client in named if client in counts
    ]
    return [*parts, (None, sum(counts.values()) / cell.window_s)]


def _draw_panel(axes: Axes, cell: CellFacts, named: Sequence[int], capacities: Mapping[str, float]) -> None:
    ranked = _ranked(cell)
    for place, (replica, name) in enumerate(ranked):
        bottom = 0.0
        for client, height in _parts(cell, replica, named):
            axes.bar(place, height, bottom=bottom, color=_colour(client, named), **_BAR)
            bottom += height
        if name in capacities:
            axes.hlines(capacities[name], place - 0.5, place + 0.5, **_CAPACITY)
    axes.set_xticks(range(len(ranked)), [name.removeprefix("replica-") for _, name in ranked])
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("Replica (number; the busiest first)")
    axes.set_ylabel("Requests (per second)")


def _number_parts(axes: Axes, cell: CellFacts, named: Sequence[int]) -> None:
    """Write the client's number into each part of a bar that has room for it."""
    room = _NAMED_FROM * axes.get_ylim()[1]
    for place, (replica, _) in enumerate(_ranked(cell)):
        bottom = 0.0
        for client, height in _parts(cell, replica, named):
            if client is not None and height >= room:
                middle = bottom + height / 2
                axes.text(
                    place, middle, str(client), ha="center", va="center", fontsize=8, color=_INK, clip_on=True
                )
            bottom += height


def _colour(client: int | None, named: Sequence[int]) -> str:
    return _OTHERS if client is None else UNIT_COLOURS[named.index(client)]


def _legend(data: PlotData, figure: Figure, named: Sequence[int], capacity: str, *, drawn: bool) -> None:
    handles: list[Patch | Line2D] = [
        Patch(color=_colour(client, named), label=f"client {client}") for client in named
    ]
    handles.append(Patch(color=_OTHERS, label="all other clients"))
    if capacity:
        handles.append(Line2D([], [], label=capacity, **(_CAPACITY if drawn else {"linestyle": ""})))
    figure.legend(handles=handles, loc="outside lower center", ncols=data.abreast(6 if drawn else 4))
