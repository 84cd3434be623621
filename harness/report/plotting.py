"""What all plots share: the data that they show, one palette, and panels for any number of arms.

A replica has the same colour in every plot.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.analysis.search import arms_at_the_ends
from harness.analysis.window_series import Floats
from harness.metrics.facts import CellFacts
from harness.metrics.registry import METRICS
from harness.record.summary import SearchSummary

if TYPE_CHECKING:
    from harness.spec.experiment import Experiment

WIDTH_IN = 9.6
NARROW_IN = 4.8  # beside text, and on a phone

# Okabe and Ito, "Color universal design", 2008: people with any common colour vision can distinguish these.
# Yellow comes last, because it is faint on white.
REPLICA_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000", "#F0E442")
# Paul Tol's "muted" scheme (SRON/EPS/TN/09-002), so that arms do not look like replicas.
ARM_COLOURS = ("#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE", "#882255", "#44AA99", "#999933")
# Paul Tol's "light" scheme, for areas that are neither replicas nor arms.
UNIT_COLOURS = ("#77AADD", "#EE8866", "#EEDD88", "#44BB99", "#FFAABB", "#99DDFF", "#BBCC33", "#AAAA00")
# The gRPC codes that experiments provoke have fixed colours. Other codes take the next of OTHER_CODE_COLOURS.
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

# Marker above a point that a percentile is at least, because it falls on failed requests.
AT_LEAST: Any = {
    **{"linestyle": "", "marker": r"$\uparrow$", "markersize": 10, "markeredgewidth": 0},
    **{"color": "black", "zorder": 5},
}
AT_LEAST_IN_WORDS = "falls on failed requests: at least this"

# Line style of the fair share.
FAIR: Any = {"color": "#333333", "linestyle": "--", "linewidth": 1}

RC: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "axes.titley": 1.0,
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
    "svg.fonttype": "none",  # text stays text: the file is small, and readers can search it or hear it
    "svg.hashsalt": "lb-lab",  # the same run gives the same bytes
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}


@dataclass(frozen=True)
class PlotData:
    """An experiment and the facts of its recorded cells.

    facts: arm as run -> its cells by repeat. Arms and cells without an answered request are left out.
    narrow: drawn to be read beside text and on a phone: panels stand below each other. search: what it found;
    facts are then of the cells at the ends of its brackets.
    """

    experiment: Experiment
    facts: Mapping[str, Sequence[CellFacts]]
    narrow: bool = False
    search: SearchSummary | None = None

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        facts: Mapping[str, Sequence[CellFacts]],
        search: SearchSummary | None = None,
    ) -> PlotData:
        """Return the cells in `facts` that have an answered request.

        Of a search: those at the ends of its brackets.
        """
        if search is not None:
            ends = arms_at_the_ends(search)
            facts = {arm: cells for arm, cells in facts.items() if arm in ends}
        answered = {
            arm: [cell for cell in cells if any(cell.replica_requests.values())]
            for arm, cells in facts.items()
        }
        return cls(experiment, {arm: cells for arm, cells in answered.items() if cells}, search=search)

    @property
    def width_in(self) -> float:
        """How wide a figure is, inches."""
        return NARROW_IN if self.narrow else WIDTH_IN

    def abreast(self, most: int) -> int:
        """Return how many panels, or entries of a legend, may stand side by side, of at most `most`."""
        return max(1, most // 3) if self.narrow else most

    @property
    def arms(self) -> list[str]:
        """The arms that have cells, in the experiment's order."""
        return list(self.facts)

    def number(self, arm: str) -> int:
        """Return the arm's index in the experiment. It decides the arm's colour in every plot."""
        return list(self.experiment.variants).index(arm)

    def first_cells(self) -> dict[str, CellFacts]:
        """Return arm -> its first recorded repeat."""
        return {arm: cells[0] for arm, cells in self.facts.items()}

    def values(self, arm: str, metric: str) -> Floats:
        """Return the metric in each repeat of the arm where it is defined, (repeats,).

        Where it is infinity, since it falls on failed requests, return what it is at least.
        """
        found = self._found(arm, metric)
        if (least := METRICS[metric].at_least) is None or not np.isinf(found).any():
            return found
        known = [least(cell) for cell in self.facts[arm]]
        return np.where(np.isinf(found), [value for value in known if value is not None], found)

    def is_least(self, arm: str, metric: str) -> bool:
        """Return whether the median over the repeats is infinity: `values` has what it is at least."""
        found = self._found(arm, metric)
        return len(found) > 0 and bool(np.isinf(np.median(found)))

    def _found(self, arm: str, metric: str) -> Floats:
        found = [METRICS[metric].compute(cell) for cell in self.facts.get(arm, ())]
        return np.array([value for value in found if value is not None], dtype=np.float64)


def median_and_range(values: Floats) -> tuple[Floats, Floats]:
    """Return the median over the first axis, (...), and whiskers to minimum and maximum, (2, ...)."""
    middle = np.median(values, axis=0)
    return middle, np.array([middle - values.min(axis=0), values.max(axis=0) - middle])


def replica_line(number: int) -> dict[str, Any]:
    """Return the line style of the replica with that index in the cell."""
    return {
        "color": REPLICA_COLOURS[number % len(REPLICA_COLOURS)],
        "linestyle": _LINES[number // len(REPLICA_COLOURS) % len(_LINES)],
        "linewidth": 1.3,
        "marker": MARKERS[number // (len(REPLICA_COLOURS) * len(_LINES)) % len(MARKERS)],
        "markersize": 2.5,
    }


def replica_bar(number: int) -> dict[str, Any]:
    """Return the bar style of the replica with that index in the cell."""
    return {
        "color": REPLICA_COLOURS[number % len(REPLICA_COLOURS)],
        "hatch": _HATCHES[number // len(REPLICA_COLOURS) % len(_HATCHES)],
        "edgecolor": "white",
        "linewidth": 0.4,
    }


def arm_line(number: int) -> dict[str, Any]:
    """Return the line style of the arm with that index in the experiment."""
    return {
        "color": ARM_COLOURS[number % len(ARM_COLOURS)],
        "linestyle": _LINES[number // len(ARM_COLOURS) % len(_LINES)],
        "linewidth": 1.5,
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 5,
    }


def arm_title(arm: str, max_length: int = 26) -> str:
    """Return an arm's name; a name longer than `max_length` on two lines of about equal length."""
    if len(arm) <= max_length:
        return arm
    breaks = [index + 1 for index, letter in enumerate(arm) if letter == "_"] or [len(arm) // 2]
    middle = min(breaks, key=lambda index: abs(index - len(arm) / 2))
    return f"{arm[:middle]}\n{arm[middle:]}"


def panels(
    data: PlotData, columns: int, height_in: float, *, sharey: bool = True
) -> tuple[Figure, Mapping[str, Axes]]:
    """Return a figure with one titled panel per arm, and arm -> its panel.

    columns: the maximum number of panels side by side. height_in: height of a panel, inches.
    """
    arms = data.arms
    columns = min(data.abreast(columns), len(arms))
    rows = math.ceil(len(arms) / columns)
    figure = Figure(figsize=(data.width_in, rows * height_in + 0.5), layout="constrained")
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


def replica_legend(data: PlotData, figure: Figure, axes: Axes, more: Sequence[Line2D] = ()) -> None:
    """Draw the legend of `axes` and `more` handles below the whole figure, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    columns = min(data.abreast(5 if more else 8), max(1, len(labels)))
    figure.legend(handles=[*handles, *more], loc="outside lower center", ncols=columns)


def replica_lines(axes: Axes, cell: CellFacts, table: Floats) -> None:
    """Draw one line per replica over the cell's time windows. table: (windows, replicas)."""
    middles = cell.replica_series.starts_s + cell.replica_series.width_s / 2
    for number, name in enumerate(cell.replica_requests):
        axes.plot(middles, table[:, number], label=name, **replica_line(number))


def fullest(panels: Iterable[Axes]) -> Axes:
    """Return the panel with the longest legend: it contains the legends of the others."""
    return max(panels, key=lambda axes: len(axes.get_legend_handles_labels()[1]))


def from_zero(panels: Iterable[Axes], room: float = 1.0) -> None:
    """Start the shared y axes at zero, and multiply their upper end by `room`.

    Call it after everything is drawn, because axes with a fixed limit do not grow any more.
    """
    for axes in list(panels):
        axes.set_ylim(bottom=0)
        top = axes.get_ylim()[1]
    if room != 1:
        axes.set_ylim(top=room * top)


def name_rows(axes: Axes, arms: Sequence[str]) -> None:
    """Label the y axis with the arms: one arm per row, the first at the top."""
    axes.set_yticks(np.arange(len(arms)), [arm_title(arm) for arm in arms])
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.set_ylabel("Arm (name)")
