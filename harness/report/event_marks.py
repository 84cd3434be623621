"""Marks of events in plots over time: a line when it was asked for, a shade while it lasted, a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from harness.events.registry import kind_of
from harness.metrics.facts import CellFacts
from harness.report.event_tables import lasts_until_s
from harness.report.plotting import PlotData

Label = Literal["name", "number", "none"]

MAX_LABELS = 8
MAX_SHADES = 8
_MAX_LINES = 3  # of one label
_CLOSE = 0.05  # share of the window: events closer than this share a label

_ROOM: dict[Label, float] = {"name": 1.45, "number": 1.15, "none": 1.0}
_LINE: Any = {"color": "#333333", "linestyle": (0, (4, 2)), "linewidth": 0.9, "zorder": 3}
_STEP: Any = {"color": "#333333", "linestyle": (0, (1, 3)), "linewidth": 0.8, "zorder": 3}
_SHADE: Any = {"color": "#888888", "alpha": 0.16, "linewidth": 0, "zorder": 0}
_BOX: Any = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}


def mark_events(axes: Axes, cell: CellFacts, *, label: Label = "name", shaded: bool = True) -> None:
    """Draw the events of a cell into `axes`, whose x axis is seconds from the start of measuring.

    label: the text at the upper end of the lines. Only the first MAX_LABELS labels and MAX_SHADES shades are
    drawn.
    """
    marks = _marks(cell)
    for mark in marks:
        axes.axvline(mark.at_s, **(_LINE if mark.number else _STEP))
    for event in cell.events[:MAX_SHADES] if shaded else ():
        until_s = lasts_until_s(event, cell.events, cell.window_s)
        if until_s is not None:
            axes.axvspan(event.at_s, until_s, **_SHADE)
    if label == "name":
        for group in _groups(marks, cell.window_s)[:MAX_LABELS]:
            _draw_names(axes, group, cell.window_s)
    elif label == "number":
        for group in _groups([mark for mark in marks if mark.number], cell.window_s)[:MAX_LABELS]:
            _draw_numbers(axes, group, cell.window_s)


def room_above(data: PlotData, label: Label) -> float:
    """Return panel height / content height, so that labels cover nothing; 1 without events."""
    eventful = any(cell.events for cells in data.facts.values() for cell in cells)
    return _ROOM[label] if eventful else 1.0


def label_of(data: PlotData, max_named: int) -> Label:
    """Return "name" for up to `max_named` arms, whose panels are large; else "number", see `event_legend`."""
    return "name" if len(data.facts) <= max_named else "number"


def event_legend(data: PlotData) -> list[Line2D]:
    """Return handles of a legend that gives the name of each event's number."""
    return [Line2D([], [], linestyle="", label=event_title(data, number)) for number in numbers_of(data)]


def numbers_of(data: PlotData) -> list[int]:
    """Return the numbers of the events that any cell had, up to MAX_LABELS of them."""
    numbers = {event.number for cells in data.facts.values() for cell in cells for event in cell.events}
    return sorted(numbers)[:MAX_LABELS]


def event_title(data: PlotData, number: int) -> str:
    """Return the event's number and name; the first two names where arms or repeats differ."""
    labels = dict.fromkeys(
        kind_of(event.do).label(event.targets)
        for cells in data.facts.values()
        for cell in cells
        for event in cell.events
        if event.number == number
    )
    return f"{number}: {' or '.join([*labels][:2])}{', ...' if len(labels) > 2 else ''}"


@dataclass(frozen=True)
class _Mark:
    """The mark of an event, or of a step of an event (number 0)."""

    at_s: float
    text: str
    number: int


def _marks(cell: CellFacts) -> list[_Mark]:
    """Return the marks of a cell's events, and of the drawn steps of longer events, by time."""
    marks = [_Mark(event.at_s, kind_of(event.do).label(event.targets), event.number) for event in cell.events]
    for event in cell.events:
        kind = kind_of(event.do)
        marks += [
            _Mark(at_s, kind.step_label(step, target), 0)
            for at_s, step, target in event.steps
            if step == kind.drawn_step
        ]
    return sorted(marks, key=lambda mark: (mark.at_s, mark.number == 0))


def _groups(marks: Sequence[_Mark], window_s: float) -> list[list[_Mark]]:
    """Return the marks by time, in groups of marks whose labels would overlap."""
    groups: list[list[_Mark]] = []
    for mark in marks:
        if groups and mark.at_s - groups[-1][0].at_s < _CLOSE * window_s:
            groups[-1].append(mark)
        else:
            groups.append([mark])
    return groups


def _draw_names(axes: Axes, group: Sequence[_Mark], window_s: float) -> None:
    lines = [mark.text for mark in group]
    if len(lines) > _MAX_LINES:
        lines = [*lines[: _MAX_LINES - 1], f"and {len(lines) - _MAX_LINES + 1} more"]
    at_s = group[0].at_s
    right_of_line = at_s < 0.1 * window_s  # because there is no space on the left
    axes.text(
        at_s + (0.008 if right_of_line else -0.008) * window_s,
        0.97,
        "\n".join(lines),
        transform=axes.get_xaxis_transform(),
        rotation=90,
        verticalalignment="top",
        horizontalalignment="left" if right_of_line else "right",
        fontsize=6.5,
        linespacing=1.0,
        bbox=_BOX,
        zorder=4,
        clip_on=True,
    )


def _draw_numbers(axes: Axes, group: Sequence[_Mark], window_s: float) -> None:
    axes.text(
        group[0].at_s - 0.005 * window_s,
        0.985,
        ",".join(str(mark.number) for mark in group),
        transform=axes.get_xaxis_transform(),
        verticalalignment="top",
        horizontalalignment="right",
        fontsize=6.5,
        zorder=4,
        clip_on=True,
    )
