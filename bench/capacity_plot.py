"""Draws the points and the law of growth: python -m bench.capacity_plot FILE.json docs/images/capacity.png"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.capacity_law import KINDS, Law, Use, fit, residuals, uses
from harness.plot_style import ARM_COLOURS, FAIR, MARKERS, RC, WIDTH_IN

TITLES = {"load": "Load process", "envoy": "Envoy, one worker", "replica": "Replica"}
LINE_POINTS = 50
USUAL_CLIENTS = 24


def draw(points: Sequence[dict[str, Any]]) -> Figure:
    """Per part: cores against rate with the fitted law, and below it how far each point is off the law."""
    figure = Figure(figsize=(WIDTH_IN, 5.2), layout="constrained")
    grid = figure.subplots(2, len(KINDS), sharex="col", sharey="row", height_ratios=(2, 1))
    for number, kind in enumerate(KINDS):
        found = uses(points, kind)
        law = fit(found)
        above, below = grid[0][number], grid[1][number]
        _points(above, below, found, law, ARM_COLOURS[number])
        _line(above, found, law, ARM_COLOURS[number])
        above.set_title(TITLES[kind])
        below.axhline(0, **FAIR)
        below.set_xlabel("Calls answered by one process (1/s)")
    grid[0][0].set_ylim(bottom=0)
    grid[0][0].set_ylabel("CPU (cores)")
    grid[1][0].set_ylabel("Off the law (%)")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _points(above: Axes, below: Axes, found: Sequence[Use], law: Law, colour: str) -> None:
    off = residuals(law, found)
    for alone, marker, name in ((False, MARKERS[0], "in a whole cell"), (True, MARKERS[1], "alone")):
        chosen = [number for number, use in enumerate(found) if use.alone == alone]
        rates = [found[number].calls_per_s for number in chosen]
        style: Any = {"linestyle": "", "marker": marker, "color": colour, "markersize": 4}
        style |= {"markerfacecolor": "white" if alone else colour}
        above.plot(rates, [found[number].cores for number in chosen], label=name, **style)
        below.plot(rates, [100 * off[number] for number in chosen], **style)


def _line(axes: Axes, found: Sequence[Use], law: Law, colour: str) -> None:
    most = max(use.calls_per_s for use in found)
    rates = [most * number / LINE_POINTS for number in range(LINE_POINTS + 1)]
    label = f"law, {USUAL_CLIENTS} clients"
    axes.plot(rates, [law.cores(rate, USUAL_CLIENTS) for rate in rates], color=colour, label=label)


def main(source: str, target: str) -> None:
    """Draw what `source` holds into `target`."""
    points = json.loads(Path(source).read_text())["points"]
    with mpl.rc_context(RC):
        # Without the program's version the same points give the same bytes.
        draw(points).savefig(target, dpi=130, metadata={"Software": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
