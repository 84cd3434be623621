"""What a search has found, as tables and lines for the report and the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from harness.metrics.metric import show
from harness.metrics.registry import METRICS
from harness.record.summary import RepeatSearch, SearchedCell, SearchSummary, Summary
from harness.report.finding import capacity_in_words
from harness.report.tables import ABSENT, Table

_HELD = {True: "held", False: "did not hold", None: "cannot say"}


def capacities_table(summary: Summary) -> Table | None:
    """Return one row an arm: its capacity, the bracket, and how it was found; None without a search."""
    search = summary.search
    if search is None:
        return None
    rows = [
        [
            name,
            capacity_in_words(summary, name),
            f"{_end(arm.low)} to {_end(arm.high)}",
            str(sum(len(one.cells) for one in arm.repeats)),
            f"{sum(one.is_found for one in arm.repeats)} of {len(arm.repeats)}",
        ]
        for name, arm in search.arms.items()
    ]
    return Table(
        ["Capacity", search.factor, "bracket", "cells", "found"],
        rows,
        f"The highest {search.factor} at which the condition holds: {search.condition}. The bracket goes "
        "from the highest value at which it held to the lowest at which it did not: medians over repeats. "
        f"Found: repeats in which the two are at most {search.within:.3g} of the lower one apart.",
    )


def _end(value: float | None) -> str:
    return ABSENT if value is None else show(value)


def trials_table(search: SearchSummary) -> Table:
    """Return one row a cell of the search."""
    unit = METRICS[search.metric].unit
    rows = [
        [name, str(repeat.repeat), show(cell.value), show(cell.measured), _said(cell)]
        for name, arm in search.arms.items()
        for repeat in arm.repeats
        for cell in repeat.cells
    ]
    return Table(["Arm", "repeat", search.factor, f"{search.metric}, {unit}", "the condition"], rows)


def _said(cell: SearchedCell) -> str:
    return f"{_HELD[cell.held]}: {cell.reason}" if cell.reason else _HELD[cell.held]


def search_lines(search: SearchSummary) -> Iterator[str]:
    """Yield what the search takes for granted, and what of it did not end or was contradicted."""
    yield f"The search takes for granted that the condition ({search.condition}) fails above some rate."
    contrary = [f"{name}: {line}" for name, arm in search.arms.items() for line in arm.contradictions]
    if contrary:
        yield f"By chance, not every cell agrees with that. {'; '.join(contrary)}."
    for name, arm in search.arms.items():
        open_ = [one for one in arm.repeats if not one.is_found]
        if open_:
            repeats = ", ".join(str(one.repeat) for one in open_)
            yield f"{name}: the search ended early in repeat{'s'[: len(open_) > 1]} {repeats}{_why(open_)}."


def _why(repeats: list[RepeatSearch]) -> str:
    undecided = sum(cell.held is None for cell in chain.from_iterable(one.cells for one in repeats))
    if not undecided:
        return ", because it had no cells left"
    return f"; {undecided} {'cell' if undecided == 1 else 'cells'} could not say whether the condition held"
