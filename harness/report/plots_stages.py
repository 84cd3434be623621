"""A plot of where the time of a request goes: its stages, stacked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.analysis.window_series import Floats
from harness.metrics.facts import CellFacts, StageTimes
from harness.metrics.metric import NS_PER_MS
from harness.metrics.stages import STAGES
from harness.report.plotting import PlotData, name_rows

# Paul Tol's "light" scheme, and greys for what the load and its clients do themselves.
_COLOURS = {
    "waiting_for_answer": "#DDDDDD",
    "late_sending": "#AAAAAA",
    "waiting_for_stream": "#FFAABB",
    "to_proxy": "#99DDFF",
    "earlier_attempts": "#EEDD88",
    "proxy_to_replica": "#77AADD",
    "to_replica": "#77AADD",
    "queue": "#EE8866",
    "service": "#44BB99",
    "way_back": "#BBCC33",
}
_PANELS: Sequence[tuple[str, Callable[[StageTimes], float]]] = (
    ("All requests", lambda times: times.mean),
    ("The slowest 1 %", lambda times: times.slowest),
)


def with_stages(data: PlotData) -> bool:
    """Return whether the requests of a cell could be cut into stages."""
    return any(cell.stages for cells in data.facts.values() for cell in cells)


def draw_stages(data: PlotData) -> Figure:
    """Draw two panels of stacked bars, one bar per arm: the mean of each stage, of all and of the slowest."""
    arms = {arm: cells for arm, cells in data.facts.items() if any(cell.stages for cell in cells)}
    figure = Figure(
        figsize=(data.width_in, (2 if data.narrow else 1) * (1.7 + 0.34 * len(arms))), layout="constrained"
    )
    both = figure.subplots(*((2, 1) if data.narrow else (1, 2)), sharey=True)
    names = [name for name in STAGES if any(name in cell.stages for cells in arms.values() for cell in cells)]
    for axes, (title, of) in zip(both, _PANELS, strict=True):
        table = np.array([[_median(cells, name, of) for name in names] for cells in arms.values()])
        _stack(axes, names, table)
        axes.set_title(title)
        axes.set_xlabel("Mean time of a request (ms)")
    name_rows(both[0], list(arms))
    both[1].set_ylabel("Arm (name)")
    handles, labels = both[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(data.abreast(6) if data.narrow else 5, len(labels)),
    )
    return figure


def _median(cells: Sequence[CellFacts], stage: str, of: Callable[[StageTimes], float]) -> float:
    """Return milliseconds: the median over the cells that have the stage; 0 without one."""
    found = [of(cell.stages[stage]) / NS_PER_MS for cell in cells if stage in cell.stages]
    return float(np.median(found)) if found else 0.0


def _stack(axes: Axes, names: Sequence[str], table: Floats) -> None:
    """Draw the bars. table: (arms, stages), milliseconds."""
    rows = np.arange(len(table))
    before = np.zeros(len(table))
    for column, name in enumerate(names):
        axes.barh(
            rows,
            table[:, column],
            left=before,
            height=0.7,
            color=_COLOURS[name],
            edgecolor="white",
            linewidth=0.4,
            label=STAGES[name].label,
        )
        before += table[:, column]
    axes.set_xlim(left=0)
