"""Recounts what was measured for each expectation of a run."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.recount import arithmetic as a
from tests.recount.run_files import Row, RunFiles


def recount_measured(run: RunFiles, repeats: Mapping[str, Sequence[Row]]) -> list[list[float | None]]:
    """Return for each finding what `measured` may be: one value where all repeats are usable.

    repeats: arm -> the recounted figures of its repeats. Where a repeat has a reason not to be usable, only
    the verdict says whether it counts for this metric. Then the medians of all, of the usable ones, and null
    are possible.
    """
    return [_measured(run, repeats, expected) for expected in _judged(run)]


def _judged(run: RunFiles) -> list[Row]:
    return [
        one
        for one in run.experiment.get("expect") or []
        if {one["arm"], one.get("of", one["arm"])} <= set(run.cells)
    ]


def _measured(run: RunFiles, repeats: Mapping[str, Sequence[Row]], expected: Row) -> list[float | None]:
    arms = [expected["arm"]] + ([expected["of"]] if "of" in expected else [])
    told = [run.summary["arms"][arm]["repeats"] for arm in arms]
    values = [[figure_of(repeat, expected["metric"]) for repeat in repeats[arm]] for arm in arms]
    usable = [not any(cell["invalid_reasons"] for cell in cells) for cells in zip(*told, strict=True)]
    everything = _compared([list(column) for column in zip(*values, strict=True)])
    if all(usable):
        return [everything]
    chosen = [list(column) for column, use in zip(zip(*values, strict=True), usable, strict=True) if use]
    return [everything, _compared(chosen), None]


def _compared(columns: Sequence[Sequence[float | None]]) -> float | None:
    """Return the median over the repeats of the values of one arm, or of the ratios of two.

    columns: (repeats, 1 or 2 arms).
    """
    if not columns or any(value is None for column in columns for value in column):
        return None
    numbers = [[float(value or 0) for value in column] for column in columns]
    if len(numbers[0]) == 1:
        return a.median([value for (value,) in numbers])
    if any(other == 0 or value == other == float("inf") for value, other in numbers):
        return None
    return a.median([value / other for value, other in numbers])


def figure_of(repeat: Row, metric: str) -> Any:
    """Return the value of a metric by the name that expectations use."""
    head, _, rest = metric.partition(".")
    if head == "errors":
        return repeat[f"error_shares.{rest}"]
    if head.startswith("event") and head[5:].isdigit():
        place = int(head[5:]) - 1
        return repeat["events"][place].get(rest) if place < len(repeat["events"]) else None
    return repeat.get(metric)


def bounds_of(run: RunFiles, arm: str) -> dict[str, list[float]]:
    """Return the bounds that the experiment puts on each metric of the arm itself, in the file's order."""
    bounds: dict[str, list[float]] = {}
    for one in run.experiment.get("expect") or []:
        for word in ("at_least", "at_most"):
            if one["arm"] == arm and word in one:
                bounds.setdefault(one["metric"], []).append(one[word])
    return bounds
