"""The plots of a trace. Colours and styles are those of all plots of the lab."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report.plotting import FAIR, RC, WIDTH_IN, lay_out, replica_bar, replica_line
from harness.traces.figures import TraceFigures, client_counts
from harness.traces.model import WorkloadModel
from harness.traces.trace import Trace
from harness.traces.zipf import shares

MAX_TARGETS = 16
MAX_POINTS = 400  # of a curve


@dataclass(frozen=True)
class TraceData:
    """What the plots show."""

    trace: Trace
    figures: TraceFigures
    model: WorkloadModel


@dataclass(frozen=True)
class TracePlot:
    """One plot: how it is drawn, its caption, and whether a trace has what it shows."""

    draw: Callable[[TraceData], Figure]
    caption: str
    applies: Callable[[TraceData], bool]


def label_of(name: str) -> str:
    """Return a target's name as matplotlib shows it: no formula, and not left out of legends.

    Its font lacks most characters beyond ASCII, and it warns of each.
    """
    shown = "".join(letter if " " <= letter <= "~" else "?" for letter in name[:30]).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def draw_over_time(data: TraceData) -> Figure:
    """Draw requests a second over time, one line per target."""
    figure, axes = _single(2.9)
    windows = data.figures.windows
    # The last window may be shorter; of less than a second, a rate would say nothing.
    lengths_s = np.clip(data.figures.span_s - windows.starts_s, 1.0, windows.width_s)
    numbers = np.round(windows.starts_s / windows.width_s).astype(np.int64)
    for place, target in enumerate(data.figures.targets[:MAX_TARGETS]):
        rows = windows.by_target.filter(pl.col("target") == data.trace.targets.index(target.name))
        heights = np.zeros(len(numbers))
        heights[np.searchsorted(numbers, rows["window"].to_numpy())] = rows["requests"].to_numpy()
        axes.plot(
            windows.starts_s / 60,
            heights / lengths_s,
            label=label_of(target.name),
            **replica_line(place),
        )
    axes.set_ylim(bottom=0)
    axes.set_xlabel("Time (minutes since the first request)")
    axes.set_ylabel("Requests (per second)")
    _legend(figure, axes)
    return figure


def draw_busiest_over_fair(data: TraceData) -> Figure:
    """Draw the busiest target / fair share in each window."""
    figure, axes = _single(2.2)
    windows = data.figures.windows
    axes.plot(
        windows.starts_s / 60, windows.busiest_over_fair, ".-", color="#332288", linewidth=1, markersize=3
    )
    axes.axhline(1, **FAIR)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("Time (minutes since the first request)")
    axes.set_ylabel("Busiest / fair (ratio)")
    return figure


def draw_shares(data: TraceData) -> Figure:
    """Draw each target's share of the requests, the busiest first."""
    figure, axes = _single(2.4)
    targets = data.figures.targets[: 4 * MAX_TARGETS]
    for place, target in enumerate(targets):
        axes.bar(place, 100 * target.share, width=0.9, **replica_bar(place))
    axes.axhline(100 / len(data.figures.targets), **FAIR)
    axes.grid(visible=False, axis="x")
    if len(targets) <= MAX_TARGETS:
        names = [label_of(target.name) for target in targets]
        axes.set_xticks(range(len(targets)), names, rotation=30, ha="right")
    axes.set_xlabel("Target, the busiest first")
    axes.set_ylabel("Requests (%)")
    return figure


def draw_presence(data: TraceData) -> Figure:
    """Draw when each target got requests, one row per target."""
    targets = data.figures.targets[: 2 * MAX_TARGETS]
    figure, axes = _single(1.0 + 0.22 * len(targets))
    for place, target in enumerate(targets):
        spans = [(start / 60, (end - start) / 60) for start, end in target.presence.intervals]
        axes.broken_barh(spans, (place - 0.35, 0.7), color=replica_bar(place)["color"])
    axes.set_yticks(range(len(targets)), [label_of(target.name) for target in targets])
    axes.set_ylim(len(targets) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("Time (minutes since the first request)")
    return figure


def draw_clients(data: TraceData) -> Figure:
    """Draw the requests of each client by rank, and Zipf's law."""
    figure, axes = _single(2.9)
    counts = client_counts(data.trace.table)
    places = np.unique(np.geomspace(1, len(counts), MAX_POINTS).astype(np.int64)) - 1
    axes.loglog(places + 1, counts[places], "o", color="#332288", markersize=3, label="clients of the log")
    fit = data.model.skew
    if fit is not None:
        law = counts.sum() * shares(fit.skew, fit.clients)
        within = places[places < len(law)]
        axes.loglog(within + 1, law[within], color="#CC6677", label=f"Zipf's law, exponent {fit.skew:.2f}")
    axes.set_xlabel("Rank of the client (1: the busiest)")
    axes.set_ylabel("Requests")
    _legend(figure, axes)
    return figure


def draw_times(data: TraceData) -> Figure:
    """Draw percentiles of each target's time."""
    targets = [target for target in data.figures.targets if target.time_ns][:MAX_TARGETS]
    figure, axes = _single(1.2 + 0.28 * len(targets))
    for number, (name, marker) in enumerate((("p50", "o"), ("p90", "s"), ("p99", "^"))):
        found = [
            (row, target.time_ns[name] / 1e6) for row, target in enumerate(targets) if name in target.time_ns
        ]
        if found:
            rows, values = zip(*found, strict=True)
            colour = ("#77AADD", "#44BB99", "#EE8866")[number]
            axes.plot(values, rows, marker, color=colour, label=name, markersize=6)
    axes.set_yticks(range(len(targets)), [label_of(target.name) for target in targets])
    axes.set_ylim(len(targets) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("Time of the target (ms)")
    _legend(figure, axes)
    return figure


def _single(height_in: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    return figure, figure.subplots()


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)))


def _with_targets(data: TraceData) -> bool:
    return bool(data.figures.targets)


PLOTS: Mapping[str, TracePlot] = {
    "over_time": TracePlot(
        draw_over_time,
        f"Requests of each target over time; at most the {MAX_TARGETS} busiest targets.",
        _with_targets,
    ),
    "busiest_over_fair": TracePlot(
        draw_busiest_over_fair,
        "The busiest target's requests / the fair share among the targets present, in each window; 1 "
        "(dashed) is even. Windows with less than ten requests for each target are left out.",
        lambda data: bool(np.isfinite(data.figures.windows.busiest_over_fair).any()),
    ),
    "shares": TracePlot(
        draw_shares, "Each target's share of the requests. The dashed line is the fair share.", _with_targets
    ),
    "presence": TracePlot(
        draw_presence,
        "When each target got requests. A gap is a silence in which the target was due at least 20 requests.",
        _with_targets,
    ),
    "clients": TracePlot(
        draw_clients,
        "Requests of each client, the busiest first, on logarithmic axes. The line is the fitted law.",
        lambda data: data.figures.hot is not None,
    ),
    "times": TracePlot(
        draw_times,
        "Percentiles of the time that each target took. A percentile of too few requests is left out.",
        lambda data: any(target.time_ns for target in data.figures.targets),
    ),
}


def draw_trace_plots(data: TraceData) -> dict[str, str]:
    """Return name -> SVG of each plot that applies."""
    drawn = {}
    with mpl.rc_context(RC):
        for name, plot in PLOTS.items():
            if plot.applies(data):
                figure = plot.draw(data)
                lay_out(figure)
                out = io.StringIO()
                figure.savefig(out, format="svg", metadata={"Date": None})
                drawn[name] = out.getvalue()
    return drawn
