"""PLOTS: what a run looks like, by name. Each is drawn from facts alone, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

from harness.metrics.facts import CellFacts
from harness.report.plot_data import PlotData
from harness.report.plot_style import RC, lay_out
from harness.report.plots_events import draw_over_time, draw_recovery, with_events
from harness.report.plots_outcome import draw_errors, draw_trade_off, with_caches, with_errors
from harness.report.plots_ribbon import draw_session_ribbon
from harness.report.plots_share import (
    draw_clients_by_replica,
    draw_share_over_time,
    draw_share_per_replica,
    draw_spread_by_unit,
    units_differ,
)
from harness.report.plots_sweep import draw_sweep, with_sweep
from harness.report.plots_wait import draw_latency, draw_queues

if TYPE_CHECKING:
    from harness.spec.experiment import Experiment


def _always(_data: PlotData) -> bool:
    return True


@dataclass(frozen=True)
class Plot:
    """`draw` makes the figure; `caption` says what it shows and how to read it.

    `applies`: whether it says something of such a run; else it is not drawn.
    """

    draw: Callable[[PlotData], Figure]
    caption: str
    applies: Callable[[PlotData], bool] = _always


def draw_plots(
    experiment: Experiment, facts: Mapping[str, Sequence[CellFacts]], folder: Path
) -> dict[str, Path]:
    """Draw every plot that applies into `folder` as <name>.png and <name>.svg; name -> path of the SVG.

    Arms and cells without an answered request are left out; without any, nothing is drawn. Plots that an
    earlier lab left in the folder are removed.
    """
    data = PlotData.of(experiment, facts)
    folder.mkdir(exist_ok=True)
    for stale in [*folder.glob("*.png"), *folder.glob("*.svg")]:
        stale.unlink()
    drawn = {}
    with mpl.rc_context(RC):
        for name, plot in PLOTS.items():
            if not data.facts or not plot.applies(data):
                continue
            figure = plot.draw(data)
            lay_out(figure)
            figure.savefig(folder / f"{name}.png", metadata={"Software": None})
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            drawn[name] = folder / f"{name}.svg"
    return drawn


PLOTS: dict[str, Plot] = {
    "over_time": Plot(
        draw_over_time,
        "What came through and what failed, by when it should have been sent, and the latency of all of it, "
        "in the first recorded repeat. Dashed lines are events; it is shaded where one lasted.",
        with_events,
    ),
    "session_ribbon": Plot(
        draw_session_ribbon,
        "Sessions over time, in the first recorded repeat: the colour is the replica that answered, pale "
        "until the next answer. A row that changes colour is a session that moved; a row of many colours "
        "was never pinned. Crosses are failed requests. At most 24 sessions, those that lasted longest, in "
        "the order of the replicas that had them first.",
        with_events,
    ),
    "recovery": Plot(
        draw_recovery,
        "What each event cost: requests planned until the next event that failed; the longest that a session "
        "waited for a good answer; sessions that moved / sessions that had to (1: none moved in vain). "
        "Medians over the repeats, whiskers over their range.",
        with_events,
    ),
    "sweep": Plot(
        draw_sweep,
        "The metrics of interest over the factor that was varied: medians over the repeats, whiskers over "
        "their range. Horizontal lines are arms without that factor. Random placement predicts: what "
        "spread.max_over_mean would be on average if each session, with the requests that it made, went to "
        "a replica drawn at random. That line is a model, the others are measured.",
        with_sweep,
    ),
    "trade_off": Plot(
        draw_trade_off,
        "What stickiness is for and what it costs: to the right the busiest replica gets more than its fair "
        "share, upward more requests find their session in the replica's cache. Beside each arm its 99th "
        "percentile latency. Medians over the repeats.",
        with_caches,
    ),
    "share_per_replica": Plot(
        draw_share_per_replica,
        "Share of the answered requests that each replica got in each repeat; last the median over the "
        "repeats, whiskers from the lowest to the highest. The dashed line is the fair share.",
    ),
    "spread_by_unit": Plot(
        draw_spread_by_unit,
        "How unevenly the same load is spread, depending on what is counted: the busiest replica's amount "
        "/ the fair share; 1 (dashed) is even. Balanced connections need not mean balanced requests, nor "
        "those balanced messages or work. Medians over the repeats, whiskers over their range.",
        units_differ,
    ),
    "share_over_time": Plot(
        draw_share_over_time,
        "The share of each replica over time, in the first recorded repeat. Even balancing keeps all lines "
        "at the dashed fair share.",
    ),
    "clients_by_replica": Plot(
        draw_clients_by_replica,
        "Where each client's requests went, in the first recorded repeat. One bright cell in a row: the "
        "client stayed on one replica. A row of one colour: its requests were spread evenly.",
    ),
    "errors": Plot(
        draw_errors,
        "Left, the requests that did not end with OK, by gRPC code. Right, how often a replica was tried "
        "for each request: above 1 means that retries add to the load. Medians over the repeats.",
        with_errors,
    ),
    "latency": Plot(
        draw_latency,
        "Latency percentiles: median over the repeats, whiskers over their range. Left, counted from the "
        "planned send, as a user waits; right, from the actual send. Where the two differ, the load "
        "generator was late.",
    ),
    "queues": Plot(
        draw_queues,
        "What the replicas say about themselves, in the first recorded repeat: how long requests waited for "
        "a slot and, of few arms, how many were inside. A line that climbs is a replica that gets more than "
        "it can serve.",
    ),
}
