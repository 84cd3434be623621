"""The plot of spread in each unit on its own: connections, sessions, RPCs, messages, busy time."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from harness.plot_data import PlotData, median_and_range
from harness.plot_style import FAIR, UNIT_COLOURS, WIDTH_IN, name_rows
from harness.timeline import Floats

UNITS = {
    "connections": "connections",
    "sessions": "sessions",
    "spread": "RPCs",
    "messages": "messages",
    "busy_time": "busy time",
}
LEAST_DIFFERENCE = 0.1  # of busiest / fair: what one sees


def units_differ(data: PlotData) -> bool:
    """Whether there are streams, or an arm whose spread depends on the unit."""
    return any(cell.streams.count for cells in data.facts.values() for cell in cells) or any(
        np.ptp([np.median(values) for values in _by_unit(data, arm).values()]) > LEAST_DIFFERENCE
        for arm in data.arms
    )


def draw_spread_by_unit(data: PlotData) -> Figure:
    """Per arm one bar a unit: the busiest replica's amount / the fair share."""
    figure = Figure(figsize=(WIDTH_IN, 1.2 + 0.62 * len(data.facts)), layout="constrained")
    axes = figure.subplots()
    thick = 0.84 / len(UNITS)
    for number, (unit, label) in enumerate(UNITS.items()):
        rows = [
            (row, found[unit]) for row, arm in enumerate(data.arms) if unit in (found := _by_unit(data, arm))
        ]
        if not rows:
            continue
        ranges = [median_and_range(values) for _, values in rows]
        middle, whiskers = (np.array(part).T for part in zip(*ranges, strict=True))
        axes.barh(
            [row + (number - (len(UNITS) - 1) / 2) * thick for row, _ in rows],
            middle,
            height=thick,
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
    figure.legend(handles, labels, loc="outside lower center", ncols=len(UNITS))
    return figure


def _by_unit(data: PlotData, arm: str) -> dict[str, Floats]:
    found = {unit: data.values(arm, f"{unit}.max_over_mean") for unit in UNITS}
    return {unit: values for unit, values in found.items() if len(values)}
