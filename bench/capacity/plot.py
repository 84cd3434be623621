"""Draws the points, the laws fitted to them, and how far each point is from its law."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bench.capacity.law import fit, residuals, uses
from bench.capacity.points import KINDS
from harness.report.plotting import ARM_COLOURS, FAIR, MARKERS, RC, WIDTH_IN

TITLES = {"load": "Load process", "envoy": "Envoy, one worker", "replica": "Replica"}


def draw(points: pl.DataFrame, path: Path) -> None:
    """Draw cores over rate into the PNG file at `path`: one column for each part."""
    with mpl.rc_context(RC):
        figure = Figure(figsize=(WIDTH_IN, 5.2), layout="constrained")
        above, below = figure.subplots(2, len(KINDS), sharex="col", sharey="row", height_ratios=(2, 1))
        for number, (kind, title) in enumerate(TITLES.items()):
            for alone, where in enumerate(("in a cell", "alone")):
                found = uses(points, kind, alone=bool(alone))
                if found.is_empty():
                    continue
                law, rates, colour = fit(found), found["calls_per_s"].to_numpy(), ARM_COLOURS[alone]
                style = {"linestyle": "", "marker": MARKERS[alone], "color": colour, "markersize": 4}
                above[number].plot(rates, found["cores"], label=where, **style)
                below[number].plot(rates, residuals(law, found) * 100, **style)
                line = pl.DataFrame({"calls_per_s": np.geomspace(rates.min(), rates.max())})
                line = line.with_columns(clients=pl.lit(found["clients"].median()))
                above[number].plot(
                    line["calls_per_s"],
                    law.cores(line["calls_per_s"], line["clients"]),
                    color=colour,
                    linewidth=1,
                    label=f"law {where}",
                )
            above[number].set_title(title)
            below[number].axhline(0, **FAIR)
            below[number].set_xscale("log")
            below[number].set_xlabel("Calls answered by one process (1/s, log scale)")
        above[0].set_yscale("log")
        above[0].set_ylabel("CPU (cores, log scale)")
        below[0].set_ylabel("Off the law (%)")
        for axis in (above[0].yaxis, *(axes.xaxis for axes in below)):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        handles, labels = above[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        figure.savefig(path, dpi=130, metadata={"Software": None})  # the same points give the same bytes
