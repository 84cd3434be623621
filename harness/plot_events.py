"""Events in plots over time: a line when it was asked for, shade while it lasted, its name along the line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from harness.event_words import event_label, lasts_until_s
from harness.facts import CellFacts
from harness.incidents import EventFacts

MOST_LABELS = 8
MOST_SHADES = 8
_MOST_LINES = 3  # of one label
_CLOSE = 0.05  # of the window: events that share a label

_LINE: Any = {"color": "#333333", "linestyle": (0, (4, 2)), "linewidth": 0.9, "zorder": 3}
_SHADE: Any = {"color": "#888888", "alpha": 0.16, "linewidth": 0, "zorder": 0}
_BOX: Any = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}


def mark_events(axes: Axes, cell: CellFacts, *, named: bool = True, shaded: bool = True) -> None:
    """Draw the events of a cell over `axes`, whose x is seconds from the start of measuring.

    named: with their names. Of very many events only the first ones have names and shades.
    """
    for event in cell.events:
        axes.axvline(event.at_s, **_LINE)
    for event in cell.events[:MOST_SHADES] if shaded else ():
        until_s = lasts_until_s(event, cell.events, cell.window_s)
        if until_s is not None:
            axes.axvspan(event.at_s, until_s, **_SHADE)
    for group in _groups(cell)[:MOST_LABELS] if named else ():
        _name(axes, group, cell.window_s)


def _groups(cell: CellFacts) -> list[list[EventFacts]]:
    """Events by time, those together whose names would cover each other."""
    groups: list[list[EventFacts]] = []
    for event in cell.events:
        if groups and event.at_s - groups[-1][0].at_s < _CLOSE * cell.window_s:
            groups[-1].append(event)
        else:
            groups.append([event])
    return groups


def _name(axes: Axes, group: Sequence[EventFacts], window_s: float) -> None:
    lines = [event_label(event.do, event.targets) for event in group]
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], f"and {len(lines) - _MOST_LINES + 1} more"]
    at_s = group[0].at_s
    beyond = at_s < 0.1 * window_s  # left of the line there is no room
    axes.text(
        at_s + (0.008 if beyond else -0.008) * window_s,
        0.97,
        "\n".join(lines),
        transform=axes.get_xaxis_transform(),
        rotation=90,
        verticalalignment="top",
        horizontalalignment="left" if beyond else "right",
        fontsize=6.5,
        linespacing=1.0,
        bbox=_BOX,
        zorder=4,
        clip_on=True,
    )
