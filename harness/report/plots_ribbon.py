"""Who answered whom when: a row a session, a colour a replica."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.analysis.window_series import Floats
from harness.metrics.facts import CellFacts, WindowSeries
from harness.report.event_marks import Label, event_legend, label_of, mark_events, room_above
from harness.report.plot_data import PlotData
from harness.report.plot_style import REPLICA_COLOURS, panels

MAX_NAMED = 8  # replicas in the legend
MAX_NAMED_ARMS = 4  # with panels large enough for the names of events
_WHITE = np.ones(3)
_TINT = 0.45  # of the colour, where a session waits for its next answer


def draw_session_ribbon(data: PlotData) -> Figure:
    """A panel an arm, of its first repeat: sessions over time, coloured by who answered last."""
    first = data.first_cells()
    few = len(first) <= MAX_NAMED_ARMS
    figure, axes_of = panels(data.arms, columns=2 if len(first) <= 6 else 3, height_in=3.0 if few else 2.4)
    label = label_of(data, MAX_NAMED_ARMS)
    for arm, cell in first.items():
        _draw(axes_of[arm], cell, label)
        rows = len(cell.series.sessions) if cell.series else 0
        axes_of[arm].set_ylim(rows - 0.5, rows * (1 - room_above(data, label)) - 0.5)
    events = event_legend(data) if label == "number" else []
    _legend(figure, max(len(cell.replica_requests) for cell in first.values()), events)
    return figure


def _draw(axes: Axes, cell: CellFacts, label: Label) -> None:
    series = cell.series
    assert series is not None
    rows = len(series.sessions)
    end_s = series.starts_s[-1] + series.width_s
    axes.imshow(
        ribbon_colours(series),
        aspect="auto",
        interpolation="nearest",
        extent=(0, end_s, rows - 0.5, -0.5),
    )
    row, step = np.nonzero(series.failures)
    middles = series.starts_s[step] + series.width_s / 2
    axes.plot(middles, row, linestyle="", marker="x", color="white", markersize=3.6, markeredgewidth=2)
    axes.plot(middles, row, linestyle="", marker="x", color="black", markersize=3, markeredgewidth=0.9)
    mark_events(axes, cell, label=label, shaded=False)
    axes.set_xlim(0, end_s)
    axes.grid(visible=False)
    axes.tick_params(left=False, labelleft=False)
    axes.set_xlabel("Time (s since the start of measuring)")
    axes.set_ylabel("Sessions (one a row)")


def ribbon_colours(series: WindowSeries) -> Floats:
    """Red, green and blue of every session and step, (sessions, steps, 3).

    White before a session's first answer and after its last; between two answers a tint of the former's.
    """
    colours = np.array([to_rgb(colour) for colour in REPLICA_COLOURS])
    answered = series.replicas >= 0
    steps = np.arange(answered.shape[1])
    latest = np.maximum.accumulate(np.where(answered, steps, -1), axis=1)
    last = np.where(answered, steps, -1).max(axis=1, keepdims=True)
    known = (latest >= 0) & (steps <= last)
    replica = np.take_along_axis(series.replicas, np.maximum(latest, 0), axis=1)
    full = colours[replica % len(colours)]
    tinted = _TINT * full + (1 - _TINT) * _WHITE
    shown: Floats = np.where(answered[..., None], full, np.where(known[..., None], tinted, _WHITE))
    return shown


def _legend(figure: Figure, replicas: int, events: Sequence[Line2D]) -> None:
    handles: list[Patch | Line2D] = [
        Patch(color=REPLICA_COLOURS[number], label=f"replica-{number}")
        for number in range(min(replicas, MAX_NAMED))
    ]
    cross = Line2D([], [], label="a request failed", marker="x", color="black", markersize=4, linestyle="")
    handles.append(cross)
    figure.legend(handles=[*handles, *events], loc="outside lower center", ncols=min(5, len(handles)))
