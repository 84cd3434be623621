"""How all plots look: one palette, one colour per replica everywhere, panels that fit any number of arms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.analysis.window_series import Floats
from harness.metrics.facts import CellFacts

WIDTH_IN = 9.6

# Okabe and Ito, "Color universal design", 2008: told apart with every common colour vision. Yellow comes
# last, since it is faint on white.
REPLICA_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000", "#F0E442")
# Paul Tol's "muted" scheme (SRON/EPS/TN/09-002): arms must not look like replicas.
ARM_COLOURS = ("#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE", "#882255", "#44AA99", "#999933")
# His "light" scheme: areas that are neither replicas nor arms.
UNIT_COLOURS = ("#77AADD", "#EE8866", "#EEDD88", "#44BB99", "#FFAABB", "#99DDFF", "#BBCC33", "#AAAA00")
# gRPC codes that experiments provoke always have the same colour, others take the next one.
CODE_COLOURS = {
    "CANCELLED": "#99DDFF",
    "DEADLINE_EXCEEDED": "#EEDD88",
    "INTERNAL": "#FFAABB",
    "UNAVAILABLE": "#EE8866",
}
OTHER_CODE_COLOURS = ("#77AADD", "#44BB99", "#BBCC33", "#AAAA00", "#BBBBBB")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LINES = ("-", "--", ":", "-.")
_HATCHES = ("", "///", "...", "xxx", "\\\\\\", "|||", "+++", "ooo")

# The line of the fair share, of what is even.
FAIR: Any = {"color": "#333333", "linestyle": "--", "linewidth": 1}

RC: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "figure.dpi": 110,
    "figure.facecolor": "white",
    "font.size": 9,
    "grid.alpha": 0.5,
    "grid.color": "#cccccc",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: small, searchable, read aloud
    "svg.hashsalt": "lb-lab",  # the same run gives the same bytes
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}


def replica_line(number: int) -> dict[str, Any]:
    """Line style of the replica with that place in the cell's list."""
    return {
        "color": REPLICA_COLOURS[number % len(REPLICA_COLOURS)],
        "linestyle": _LINES[number // len(REPLICA_COLOURS) % len(_LINES)],
        "linewidth": 1.3,
        "marker": MARKERS[number // (len(REPLICA_COLOURS) * len(_LINES)) % len(MARKERS)],
        "markersize": 2.5,
    }


def replica_bar(number: int) -> dict[str, Any]:
    """Bar style of the replica with that place in the cell's list."""
    return {
        "color": REPLICA_COLOURS[number % len(REPLICA_COLOURS)],
        "hatch": _HATCHES[number // len(REPLICA_COLOURS) % len(_HATCHES)],
        "edgecolor": "white",
        "linewidth": 0.4,
    }


def arm_line(number: int) -> dict[str, Any]:
    """Line style of the arm with that place in the experiment."""
    return {
        "color": ARM_COLOURS[number % len(ARM_COLOURS)],
        "linestyle": _LINES[number // len(ARM_COLOURS) % len(_LINES)],
        "linewidth": 1.5,
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 5,
    }


def arm_title(arm: str, most: int = 26) -> str:
    """An arm's name on at most two lines of about equal length."""
    if len(arm) <= most:
        return arm
    breaks = [place + 1 for place, letter in enumerate(arm) if letter == "_"] or [len(arm) // 2]
    middle = min(breaks, key=lambda place: abs(place - len(arm) / 2))
    return f"{arm[:middle]}\n{arm[middle:]}"


def panels(
    arms: Sequence[str], columns: int, height_in: float, *, sharey: bool = True
) -> tuple[Figure, Mapping[str, Axes]]:
    """A figure with one titled panel per arm, `columns` at most side by side, each `height_in` high."""
    columns = min(columns, len(arms))
    rows = math.ceil(len(arms) / columns)
    figure = Figure(figsize=(WIDTH_IN, rows * height_in + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=sharey, squeeze=False)
    flat = list(grid.flat)
    for unused in flat[len(arms) :]:
        unused.remove()
    for arm, axes in zip(arms, flat, strict=False):
        axes.set_title(arm_title(arm))
    return figure, dict(zip(arms, flat, strict=False))


def lay_out(figure: Figure) -> None:
    """Give everything on the figure its place for good: drawn later, nothing moves."""
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    figure.set_layout_engine("none")


def replica_legend(figure: Figure, axes: Axes, more: Sequence[Line2D] = ()) -> None:
    """The legend of `axes`, and more handles, below the whole figure, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    columns = min(5 if more else 8, max(1, len(labels)))
    figure.legend(handles=[*handles, *more], loc="outside lower center", ncols=columns)


def replica_lines(axes: Axes, cell: CellFacts, table: Floats) -> None:
    """One line per replica over the cell's time windows; table: (windows, replicas)."""
    middles = cell.timeline.starts_s + cell.timeline.width_s / 2
    for number, name in enumerate(cell.replica_requests):
        axes.plot(middles, table[:, number], label=name, **replica_line(number))


def fullest(panels: Iterable[Axes]) -> Axes:
    """The panel with the longest legend: it covers the others."""
    return max(panels, key=lambda axes: len(axes.get_legend_handles_labels()[1]))


def from_zero(panels: Iterable[Axes], room: float = 1.0) -> None:
    """Start the shared y axes at zero, once all is drawn: a limit that is set stops them from growing.

    room: by what to multiply the upper end.
    """
    for axes in list(panels):
        axes.set_ylim(bottom=0)
        top = axes.get_ylim()[1]
    if room != 1:
        axes.set_ylim(top=room * top)


def name_rows(axes: Axes, arms: Sequence[str]) -> None:
    """An arm a row, the first on top."""
    axes.set_yticks(np.arange(len(arms)), [arm_title(arm) for arm in arms])
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.set_ylabel("Arm (name)")
