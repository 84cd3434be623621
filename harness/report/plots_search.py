"""A plot of a search: the condition's metric in each cell over the factor, and the bracket of each arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import StrMethodFormatter

from harness.metrics.headlines import headline_of
from harness.metrics.registry import METRICS
from harness.record.summary import ArmSearch, SearchedCell
from harness.report.plots_wait import log_latency
from harness.report.plotting import FAIR, PlotData, arm_line, arm_title

_STATES: dict[bool | None, tuple[str, Any]] = {
    True: ("held", {}),
    False: ("did not hold", {"markerfacecolor": "white"}),
    None: ("cannot say", {"marker": "x"}),
}


def with_search(data: PlotData) -> bool:
    """Return whether the experiment searched."""
    return data.search is not None


def draw_search(data: PlotData) -> Figure:
    """Draw one marker a cell, with each arm's bracket as a shade and the bound as a line."""
    search = data.search
    assert search is not None
    figure = Figure(figsize=(data.width_in, 4.4), layout="constrained")
    axes = figure.subplots()
    handles: list[Line2D] = []
    for number, (name, arm) in enumerate(search.arms.items()):
        style = {**arm_line(number), "linestyle": ""}
        cells = [cell for repeat in arm.repeats for cell in repeat.cells]
        for held, (_, extra) in _STATES.items():
            _markers(axes, [cell for cell in cells if cell.held is held], {**style, **extra})
        _bracket(axes, arm, style["color"])
        handles.append(Line2D([], [], label=arm_title(name, max_length=40), **style))
    axes.axhline(search.bound, **FAIR)
    grey = {"color": "#555555", "linestyle": "", "marker": "o", "markersize": 5}
    handles += [Line2D([], [], label=word, **{**grey, **extra}) for word, extra in _STATES.values()]
    handles.append(Line2D([], [], label=f"bound ({search.condition})", **FAIR))
    unit = METRICS[search.metric].unit
    axes.set_xlabel("Rate (requests/s, log scale)")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))
    axes.set_ylabel(f"{headline_of(search.metric).capitalize()} ({unit})")
    if unit == "ms":
        log_latency(axes)
        axes.set_ylabel(f"{headline_of(search.metric).capitalize()} ({unit}, log scale)")
    figure.legend(handles=handles, loc="outside lower center", ncols=data.abreast(4))
    return figure


def _markers(axes: Axes, cells: Sequence[SearchedCell], style: dict[str, Any]) -> None:
    shown = [(cell.value, cell.measured) for cell in cells if cell.measured is not None]
    axes.plot([value for value, _ in shown], [measured for _, measured in shown], **style)


def _bracket(axes: Axes, arm: ArmSearch, colour: str) -> None:
    if arm.low is not None and arm.high is not None:
        axes.axvspan(arm.low, arm.high, color=colour, alpha=0.2, linewidth=0)
    for end in (arm.low, arm.high):
        if end is not None:
            axes.axvline(end, color=colour, linewidth=0.6, alpha=0.5)
