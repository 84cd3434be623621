"""PLOTS: name -> plot. Each plot is drawn from the facts of a run, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from harness.metrics.registry import CAPACITY
from harness.record.record_file import whole_file
from harness.report.plots_clients import draw_clients_on_replicas, with_uneven_clients
from harness.report.plots_events import (
    changing,
    draw_over_time,
    draw_recovery,
    draw_session_ribbon,
    with_events,
)
from harness.report.plots_nodes import (
    draw_nodes_over_time,
    draw_zones,
    with_nodes_that_change,
    with_zones,
)
from harness.report.plots_outcome import (
    draw_errors,
    draw_sweep,
    draw_trade_off,
    with_caches,
    with_errors,
    with_sweep,
)
from harness.report.plots_search import draw_search, with_search
from harness.report.plots_share import (
    draw_clients_by_replica,
    draw_share_over_time,
    draw_share_per_replica,
    draw_spread_by_unit,
    units_differ,
)
from harness.report.plots_stages import draw_stages, with_stages
from harness.report.plots_wait import draw_latency, draw_queues
from harness.report.plotting import RC, PlotData, lay_out

MAX_NARROW_IN = 16.0  # height of a plot beside text

# A drawing of one plot; it returns the SVG that is not written to a file, if there is one.
Job = Callable[[], str | None]
# Carries out jobs that do not depend on each other, and returns what they return.
CarryOut = Callable[[Sequence[Job]], Sequence[str | None]]


def in_turn(jobs: Sequence[Job]) -> list[str | None]:
    """Carry out one job after the other; see CarryOut."""
    return [job() for job in jobs]


def _always(_data: PlotData) -> bool:
    return True


@dataclass(frozen=True)
class Plot:
    """One plot. `draw` returns the figure; `caption` says what it shows and how to read it.

    `applies` returns whether the plot says something about this run. Otherwise it is not drawn. `states`: the
    metric that its title gives of the arms; "": none. `answers`: patterns of metrics; where the finding is
    about one of them, the plot shows it. The first plot that does stands beside the finding.
    """

    draw: Callable[[PlotData], Figure]
    caption: str
    applies: Callable[[PlotData], bool] = _always
    states: str = ""
    answers: Sequence[str] = ()


@dataclass(frozen=True)
class MainPlot:
    """The plot that answers the question: its name, and its SVG; None: too high to be drawn narrow."""

    name: str
    svg: str | None


def draw_plots(
    data: PlotData, folder: Path, metrics: Sequence[str] = (), carry_out: CarryOut = in_turn
) -> tuple[dict[str, Path], MainPlot | None]:
    """Draw every plot that applies, as <name>.png and <name>.svg in `folder`.

    Return name -> path of the SVG, and the plot that shows the `metrics` of the finding; None: there is none.
    If no cell has an answered request, nothing is drawn. Older plots in the folder are removed.
    """
    for stale in [*folder.glob("*.png"), *folder.glob("*.svg")]:
        stale.unlink()
    names = [name for name, plot in PLOTS.items() if data.facts and plot.applies(data)]
    jobs: list[Job] = [partial(_draw, data, name, folder) for name in names]
    main = main_plot(metrics, names)
    if main is not None:
        jobs.append(partial(draw_narrow, data, main))
    done = carry_out(jobs)
    drawn = {name: folder / f"{name}.svg" for name in names}
    return drawn, None if main is None else MainPlot(main, done[-1])


def _draw(data: PlotData, name: str, folder: Path) -> None:
    """Draw one plot as PNG and SVG.

    The canvases write what is laid out already. `Figure.savefig` would draw it twice for each of them.
    """
    with mpl.rc_context(RC):
        figure = PLOTS[name].draw(data)
        lay_out(figure)
        png: Any = FigureCanvasAgg(figure)
        with whole_file(folder / f"{name}.png") as file:
            png.print_png(file, metadata={"Software": None})
        with whole_file(folder / f"{name}.svg") as file:
            _write_svg(figure, file)


def draw_narrow(data: PlotData, name: str) -> str | None:
    """Return the SVG of one plot, drawn to stand beside text and on a phone.

    None where many arms below each other would make it higher than MAX_NARROW_IN.
    """
    with mpl.rc_context(RC):
        figure = PLOTS[name].draw(replace(data, narrow=True))
        if figure.get_figheight() > MAX_NARROW_IN:
            return None
        lay_out(figure)
        svg = StringIO()
        _write_svg(figure, svg)
    return svg.getvalue()


def _write_svg(figure: Figure, file: BinaryIO | StringIO) -> None:
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(file, metadata={"Date": None})  # the date would make every plot differ


def main_plot(metrics: Sequence[str], drawn: Collection[str]) -> str | None:
    """Return the plot that answers the question. `metrics`: of the finding; `drawn`: names of the plots.

    None where none of the plots shows the metrics.
    """
    for metric in metrics:
        for name, plot in PLOTS.items():
            if name in drawn and any(fnmatchcase(metric, pattern) for pattern in plot.answers):
                return name
    return None


PLOTS: dict[str, Plot] = {
    "search": Plot(
        draw_search,
        "The cells of the search: a filled marker where the condition held, a hollow one where it did not, a "
        "cross where the cell cannot say. The horizontal line is the bound. Each arm's shade is its bracket: "
        "the capacity lies in it (medians over the repeats).",
        with_search,
        states=CAPACITY,
        answers=(CAPACITY,),
    ),
    "over_time": Plot(
        draw_over_time,
        "Requests that ended with OK and requests that failed, by planned send, and the latency of those "
        "that ended with OK, in the first recorded repeat: of each step of time the median and the slowest. "
        "Dashed lines are events. The shade shows how long an event lasted. Where the rate changes, the line "
        "in the first panel is the planned rate.",
        changing,
        states="error_share",
        answers=(
            "event*.goodput_per_s",
            "event*latency*",
            "event*.attempts*",
            "event*.error_share",
            "event*.delayed*",
            "recovery_ms",
            "knee_per_s",
        ),
    ),
    "nodes_over_time": Plot(
        draw_nodes_over_time,
        "Each proxy node's share of the answered requests over time, in the first recorded repeat. Clients "
        "look for another node when their connection ends, so a new node gets nothing from clients whose "
        "connections last.",
        with_nodes_that_change,
        answers=("event*.target_share",),
    ),
    "session_ribbon": Plot(
        draw_session_ribbon,
        "Sessions over time, in the first recorded repeat. The colour is the replica that answered; it is "
        "pale until the next answer. A row that changes colour is a session that moved. A row of many "
        "colours is a session that was never pinned. Crosses are failed requests. The plot shows at most 24 "
        "sessions: those that lasted longest, sorted by the replica that answered them first.",
        with_events,
        states="affinity.breaks",
        answers=("event*.breaks", "event*.returned_share", "event*.target_share", "affinity.breaks"),
    ),
    "recovery": Plot(
        draw_recovery,
        "The cost of each event: failed requests; the longest time that a session waited for a good answer; "
        "sessions that moved / sessions that had to move (1: no session moved without need). Medians over "
        "the repeats, whiskers over their range.",
        with_events,
        states="longest_gap_ms",
        answers=("event*",),
    ),
    "sweep": Plot(
        draw_sweep,
        "Metrics over the factor that was varied: medians over the repeats, whiskers over their range. "
        "Horizontal lines are arms without that factor. Random placement is a model: each session, with the "
        "requests that it made, goes to a replica drawn at random. The dashed line is the mean of many such "
        "placements, and nine of ten are in the band. A repeat (hollow dot) is one placement: it may lie "
        "anywhere in the band, and now and then outside, and a few repeats do not show the mean.",
        with_sweep,
        answers=("*",),
    ),
    "trade_off": Plot(
        draw_trade_off,
        "The gain and the cost of stickiness. Further up, more requests find their session in the replica's "
        "cache. Further right, the busiest replica gets more than its fair share. The text beside each arm "
        "is its 99th percentile latency. Medians over the repeats.",
        with_caches,
        states="cache.hit_share",
        answers=("cache.*",),
    ),
    "clients_on_replicas": Plot(
        draw_clients_on_replicas,
        "Which clients make a replica busy, in the first recorded repeat: one bar per replica, the busiest "
        "first, stacked by client. The line across the bars is what a replica can serve by its settings. "
        "Where a bar is higher, the replica's queue grows for as long as the load lasts.",
        with_uneven_clients,
        states="spread.max_over_mean",
        answers=("spread.*", "share.*"),
    ),
    "share_per_replica": Plot(
        draw_share_per_replica,
        "Each replica's share of the answered requests, in each repeat; last the median over the repeats, "
        "with whiskers over their range. The dashed line is the fair share. Where the experiment does not "
        "tell its replicas apart, the busiest replica of a repeat comes first, whichever it is: the colour "
        "tells which. The medians (grey) are then of ranks.",
        states="spread.max_over_mean",
        answers=("spread.*", "share.*", "balance.*", "random_placement.*", "attempt_share.*"),
    ),
    "spread_by_unit": Plot(
        draw_spread_by_unit,
        "How unevenly the same load is spread, for different units: the busiest replica's amount / the fair "
        "share; 1 (dashed) is even. Requests can be uneven while connections are even. Messages and work "
        "can be uneven while requests are even. Medians over the repeats, whiskers over their range.",
        units_differ,
        states="busy_time.max_over_mean",
        answers=("connections.*", "sessions.*", "messages.*", "busy_time.*", "stream.*"),
    ),
    "zones": Plot(
        draw_zones,
        "Where requests crossed zones: from the zone of the proxy node to that of the replica that answered, "
        "in percent of the answered requests of all repeats. The colour is the node's zone. Hatched "
        "requests crossed zones.",
        with_zones,
        states="zones.crossed_share",
        answers=("zones.*",),
    ),
    "share_over_time": Plot(
        draw_share_over_time,
        "Each replica's share of the answered requests over time, in the first recorded repeat. With even "
        "balancing, all lines stay at the dashed fair share.",
        states="spread.max_over_mean",
    ),
    "clients_by_replica": Plot(
        draw_clients_by_replica,
        "Each client's requests by replica, in the first recorded repeat. One bright cell in a row: the "
        "client stayed on one replica. A row of one colour: the client's requests were spread evenly.",
        states="affinity.purity",
        answers=("affinity.*", "per_client.*"),
    ),
    "errors": Plot(
        draw_errors,
        "First: the requests that did not end with OK, by gRPC code. Then: attempts per request that reached "
        "a replica. Above 1, retries add to the load. Medians over the repeats.",
        with_errors,
        states="error_share",
        answers=("error_share", "errors.*", "attempts.*", "goodput*", "answers_lost"),
    ),
    "latency": Plot(
        draw_latency,
        "Latency percentiles: medians over the repeats, whiskers over their range. First: from the planned "
        "send, as a user waits. Last: from the actual send. Where the two differ, the load generator was "
        "late, or the client waited for an answer first. A percentile of too few requests is left out.",
        states="latency_ms.p99",
        answers=("latency*", "ok_latency*", "message_latency*", "longest_gap_ms"),
    ),
    "stages": Plot(
        draw_stages,
        "Where the time of a request goes, from its planned send to its answer: mean of each stage, over all "
        "requests and over the slowest 1 %. The stages of a bar add up to the mean latency. Medians over the "
        "repeats.",
        with_stages,
        states="stage_ms.queue.mean",
        answers=("stage_ms.*", "generator*"),
    ),
    "queues": Plot(
        draw_queues,
        "The replicas' own figures, in the first recorded repeat: the longest time that a request waited "
        "for a slot, in each step of time, and, if the arms are few, how many requests were inside. Requests "
        "that were given up are in them. A line "
        "that rises is a replica that gets more requests than it can serve.",
        states="queue_ms.max",
        answers=("queue_ms.*", "in_flight.*", "endpoints.*"),
    ),
}
