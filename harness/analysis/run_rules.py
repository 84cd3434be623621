"""What must be true of the cells of a run together: none is the copy of another, and every seal is whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from harness.analysis.cell_rules import example
from harness.record.run_directory import Cell, Run
from harness.record.seals import broken_seals

# Requests of a cell that are compared with those of others. Of a larger cell every n-th is taken.
MAX_COMPARED = 20_000
# Two requests with one id that took the same nanoseconds: among millions that happens by chance, but rarely.
MAX_SAME_SHARE = 0.01


def fingerprint(rows: pl.DataFrame) -> pl.DataFrame:
    """Return request_id, took_ns of at most MAX_COMPARED requests: how long each took from its send."""
    every = -(-rows.height // MAX_COMPARED)
    number = pl.col("request_id") % every == 0 if every > 1 else pl.lit(True)
    return rows.select("request_id", pl.col("latency_from_send_ns").cast(pl.Int64).alias("took_ns")).filter(
        number
    )


def run_contradictions(run: Run, fingerprints: Mapping[str, pl.DataFrame]) -> dict[str, tuple[str, ...]]:
    """Return the name of a cell's folder -> sentences about it: broken seals, and copies of other cells.

    fingerprints: folder's name -> fingerprint, of all recorded cells. What is wrong with the run itself is
    said of each of its cells. Raises UserError naming a file that cannot be read.
    """
    broken = broken_seals(run.path, run.manifest)
    of_run = [*broken.get("", ()), *_unlike_the_manifest(run)]
    # Simulated cells share calls and service times, and nothing disturbs them: equal times are no copies.
    copies = {} if run.manifest.testbed == "simulated" else _copies(run.cells, fingerprints)
    return {
        cell.folder.name: (
            *of_run,
            *_of_another_testbed(run, cell),
            *broken.get(cell.folder.name, ()),
            *copies.get(cell.folder.name, ()),
        )
        for cell in run.cells
    }


def _unlike_the_manifest(run: Run) -> Iterator[str]:
    if run.manifest.seed != run.experiment.seed:
        yield f"manifest.json says seed {run.manifest.seed}, the experiment {run.experiment.seed}"


def _of_another_testbed(run: Run, cell: Cell) -> Iterator[str]:
    """Only parts that are not the lab's have ledgers that it cannot read, and clocks of their own."""
    if run.manifest.testbed != "external" and (cell.record.missing_ledgers or cell.record.own_clocks):
        yield f"cell.json says that parts are not the lab's, but the testbed was {run.manifest.testbed}"


def _copies(cells: Sequence[Cell], fingerprints: Mapping[str, pl.DataFrame]) -> dict[str, list[str]]:
    """Return the name of a cell's folder -> sentences that say of which other cell it is a copy.

    Which of the two is the original cannot be told.
    """
    names = [cell.folder.name for cell in cells]
    sentences: dict[str, list[str]] = {name: [] for name in names}
    for first, second in _same_start(cells):
        for one, other in ((first, second), (second, first)):
            sentences[one].append(f"it began at the same nanosecond as cells/{other}")
    tagged = [
        fingerprints[name].with_columns(pl.lit(place, pl.Int64).alias("cell"))
        for place, name in enumerate(names)
    ]
    if not tagged:
        return sentences
    same = (
        pl.concat(tagged)
        .group_by("request_id", "took_ns")
        .agg(pl.col("cell").unique().sort())
        .filter(pl.col("cell").list.len() > 1)
    )
    pairs = same.select(
        pl.col("cell").list.first().alias("first"), pl.col("cell").list.last().alias("second")
    )
    for first, second, count in pairs.group_by("first", "second").len().sort("first", "second").iter_rows():
        of = min(fingerprints[names[first]].height, fingerprints[names[second]].height)
        if count > max(1, MAX_SAME_SHARE * of):
            for one, other in ((first, second), (second, first)):
                sentences[names[one]].append(
                    f"{count:,} of {of:,} requests took the same nanoseconds as in cells/{names[other]}: one "
                    f"is a copy, {example(same)}"
                )
    return sentences


def _same_start(cells: Sequence[Cell]) -> list[tuple[str, str]]:
    starts: dict[int, str] = {}
    pairs = []
    for cell in cells:
        first = starts.setdefault(cell.record.epoch_unix_ns, cell.folder.name)
        if first != cell.folder.name:
            pairs.append((first, cell.folder.name))
    return pairs
