"""Draws the points and the law of growth: python -m bench.capacity_plot FILE.json docs/images/capacity.png"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bench.capacity_law import KINDS, Law, Use, fit, residuals, uses
from harness.report.plot_style import ARM_COLOURS, FAIR, MARKERS, RC, WIDTH_IN

TITLES = {"load": "Load process", "envoy": "Envoy, one worker", "replica": "Replica"}
WHERE = ("in a cell", "alone")


def draw(points: Sequence[dict[str, Any]]) -> Figure:
    """Per part: cores against rate with the fitted laws, and below it how far each point is off its law."""
    figure = Figure(figsize=(WIDTH_IN, 5.2), layout="constrained")
    grid = figure.subplots(2, len(KINDS), sharex="col", sharey="row", height_ratios=(2, 1))
    for number, kind in enumerate(KINDS):
        above, below = grid[0][number], grid[1][number]
        for alone in (False, True):
            found = uses(points, kind, alone=alone)
            law = fit(found)
            _draw_uses(above, below, found, law, alone)
            _draw_law(above, found, law, alone)
        above.set_title(TITLES[kind])
        below.axhline(0, **FAIR)
        below.set_xscale("log")
        below.set_xlabel("Calls answered by one process (1/s, log scale)")
    grid[0][0].set_yscale("log")
    grid[0][0].set_ylabel("CPU (cores, log scale)")
    grid[1][0].set_ylabel("Off the law (%)")
    handles, labels = grid[0][0].get_legend_handles_labels()
    for axis in (grid[0][0].yaxis, *(axes.xaxis for axes in grid[1])):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _draw_uses(above: Axes, below: Axes, found: Sequence[Use], law: Law, alone: bool) -> None:
    rates = [use.calls_per_s for use in found]
    style: Any = {"linestyle": "", "marker": MARKERS[alone], "color": ARM_COLOURS[alone], "markersize": 4}
    above.plot(rates, [use.cores for use in found], label=WHERE[alone], **style)
    below.plot(rates, [100 * off for off in residuals(law, found)], **style)


def _draw_law(axes: Axes, found: Sequence[Use], law: Law, alone: bool) -> None:
    clients = median(use.clients for use in found)
    rates = np.geomspace(min(use.calls_per_s for use in found), max(use.calls_per_s for use in found))
    cores = [law.cores(rate, clients) for rate in rates]
    axes.plot(rates, cores, color=ARM_COLOURS[alone], linewidth=1, label=f"law {WHERE[alone]}")


def main(source: str, target: str) -> None:
    """Draw what `source` holds into `target`."""
    points = json.loads(Path(source).read_text())["points"]
    with mpl.rc_context(RC):
        # Without the program's version the same points give the same bytes.
        draw(points).savefig(target, dpi=130, metadata={"Software": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
