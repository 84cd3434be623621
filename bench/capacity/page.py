"""Writes the rows of the tables on docs/capacity.md, and its plot, from measured points.

`python -m bench.capacity.page POINTS PAGE` reads the CSV file POINTS. In PAGE it replaces the rows of each
table below `<!-- NAME -->`. Beside PAGE it draws images/capacity.png.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import astuple
from itertools import product
from math import ceil
from pathlib import Path

import numpy as np
import polars as pl

from bench.capacity.law import fit, kept, residuals, uses
from bench.capacity.plot import draw
from bench.capacity.points import KINDS, USUAL_CLIENTS, USUAL_RATE_PER_S, read_points

NAMES = {"load": "load process", "envoy": "Envoy, one worker", "replica": "replica (asyncio)"}
RATES_PER_S = (10_000, 100_000, 1_000_000)
PLANNED_SHARE = 0.7  # of a full core; the rest is for bursts, so that no queue builds up
Rows = Iterator[tuple[object, ...]]


def middle(values: pl.Series) -> float:
    """Return the median."""
    return float(np.median(values))


def span(values: pl.Series, style: str) -> str:
    """Return the median, with the least and the most in brackets if they look different."""
    least, middle, most = (format(value, style) for value in np.quantile(values, (0, 0.5, 1)))
    return middle if least == most else f"{middle} ({least} to {most})"


def full(points: pl.DataFrame, kind: str) -> tuple[pl.DataFrame, str]:
    """Return the rounds in which a part alone used its whole core, and what happened at higher rates.

    No rounds: it was not measured.

    A load process is full at the highest rate that it kept in every round. Other parts are called as fast as
    they answer.
    """
    alone = points.filter(pl.col("what") == kind)
    if kind != "load":
        return alone.filter(pl.col("rate_per_s") == 0), "called as fast as it answers"
    best = alone.clear()
    for (rate_per_s,), rounds in alone.sort("rate_per_s").group_by("rate_per_s", maintain_order=True):
        if not rounds.select(kept().all()).item():
            lag, cores = span(rounds["lag_p99_ms"], ".0f"), middle(rounds["load_cores"])
            return best, f"at {rate_per_s:,}/s: send lag p99 {lag} ms at {cores:.2f} cores"
        best = rounds
    return best, "more was not tried"


def measured(points: pl.DataFrame) -> Rows:
    """Rows that say when, where and with which versions the points were measured."""
    for key, rows in points.group_by("date", "machine", "versions", maintain_order=True):
        what = ", ".join(rows["what"].unique(maintain_order=True))
        yield what, rows.height, *key, span(rows["other_cores"], ".2f")


def carried(points: pl.DataFrame) -> Rows:
    """Rows that say how many calls a second one process can carry."""
    for kind in KINDS:
        rounds, beyond = full(points, kind)
        rate, cores = rounds["calls_per_s"], rounds[f"{kind}_cores"]
        if rounds.height:
            us_per_call = f"{middle(cores) / middle(rate) * 1e6:.0f} us"
            yield NAMES[kind], span(rate, ",.0f"), span(cores, ".2f"), us_per_call, beyond


def needed(points: pl.DataFrame) -> Rows:
    """Rows that say how many processes a rate needs: with full cores, and at PLANNED_SHARE."""
    rounds = [full(points, kind)[0] for kind in KINDS]
    if any(some.is_empty() for some in rounds):
        return
    each = [middle(some["calls_per_s"]) for some in rounds]
    for rate_per_s in RATES_PER_S:
        counts = [[ceil(rate_per_s / (calls * share)) for calls in each] for share in (1, PLANNED_SHARE)]
        pairs = zip(*([*several, sum(several)] for several in counts), strict=True)
        yield f"{rate_per_s:,}", *(f"{filled:,} / {planned:,}" for filled, planned in pairs)


def law(points: pl.DataFrame) -> Rows:
    """Rows with the fitted laws, and how far the points are from them."""
    for kind, alone in product(KINDS, (False, True)):
        found = uses(points, kind, alone=alone)
        if found.height:
            fitted, rates = fit(found), found["calls_per_s"].to_numpy()
            off = residuals(fitted, found).to_numpy()
            name = f"{NAMES[kind]}, {'alone' if alone else 'in a cell'}"
            a, b, c = (format(*term) for term in zip(astuple(fitted), (".3f", ".0f", ".0f"), strict=True))
            spread = f"half within {np.median(abs(off)):.0%}, all {off.min():+.0%} to {off.max():+.0%}"
            yield name, f"{rates.min():,.0f} to {rates.max():,.0f}", a, b, c if float(c) else "", spread


def replicas(points: pl.DataFrame) -> Rows:
    """Rows that say how many replicas can share one core."""
    behind_envoy = (pl.col("what") == "lab") & (pl.col("route") == "envoy")
    cells = points.filter(behind_envoy, pl.col("clients") == USUAL_CLIENTS)
    each = (pl.col("rate_per_s") / pl.col("replicas")).alias("each")
    for (rate_per_s,), rounds in cells.sort(each).group_by(each, maintain_order=True):
        cores = rounds["replica_cores"]
        yield f"{rate_per_s:g}", span(cores, ".3f"), f"{1 / middle(cores):.0f}"


def clients(points: pl.DataFrame) -> Rows:
    """Rows with memory and files of a process, and what each client adds: lines through cells of one rate."""
    for kind in KINDS:
        found = uses(points, kind, alone=False)
        cells = found.filter(found["rate_per_s"] == USUAL_RATE_PER_S)
        kib_each, mib = np.polyfit(cells["clients"], cells["mib"], 1) * (1024, 1)
        files_each, files = np.polyfit(cells["clients"], cells["files"], 1)
        in_a_gib = round((1024 - mib) * 1024 / kib_each, -2)
        on_a_core = round(1e6 / fit(found).client_us, -3)
        counts = (f"{mib:.0f}", f"{kib_each:.0f}", f"{in_a_gib:,.0f}", f"{on_a_core:,.0f}")
        yield NAMES[kind], *counts, f"{files:.0f}", f"{files_each:.1f}"


TABLES = (measured, carried, needed, law, replicas, clients)


def filled(text: str, name: str, rows: Rows) -> str:
    """Return the page `text` with new rows in the table below `<!-- name -->`."""
    lines = "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)
    start = re.search(rf"<!-- {name} -->\n(\|.*\n){{2}}", text)
    assert start is not None, f"the page has no table {name}"
    return text[: start.end()] + lines + re.sub(r"\A(\|.*\n)*", "", text[start.end() :])


def main(source: str, target: str) -> None:
    """Fill the page `target` from the points of `source`."""
    points, path = read_points(Path(source)), Path(target)
    text = path.read_text()
    for make in TABLES:
        text = filled(text, make.__name__, make(points))
    path.write_text(text)
    (path.parent / "images").mkdir(exist_ok=True)
    draw(points, path.parent / "images" / "capacity.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
