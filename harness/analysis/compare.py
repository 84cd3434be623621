"""Compares two runs of one experiment, and says what differed between them besides chance."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import JsonValue
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.analysis.claims import interval_in_words
from harness.analysis.judge import median
from harness.analysis.search import search_summary
from harness.analysis.statistics import FEWEST, Interval, ratio_interval
from harness.analysis.summary import facts_of
from harness.analysis.validity import CellResult, measure
from harness.errors import UserError
from harness.metrics.metric import Number, show
from harness.metrics.registry import CAPACITY, METRICS
from harness.record.cell_record import read_machine
from harness.record.run_directory import Run
from harness.spec.experiment import WORDS, as_asked

SHOWN = (
    *("spread.max_over_mean", "affinity.purity", "error_share"),
    *("latency_ms.p50", "latency_ms.p99", "achieved_rate_per_s"),
)


@dataclass(frozen=True)
class Change:
    """One metric of one arm in both runs: medians over the repeats that can tell it.

    repeats: how many those are, before and after. interval: of after / before; None: there is none. same: all
    values are the same.
    """

    arm: str
    metric: str
    before: Number
    after: Number
    repeats: tuple[int, int]
    interval: Interval | None
    same: bool = False

    @property
    def note(self) -> str:
        """Return the change in words: a factor with its interval, or why there is none."""
        if self.before is None or self.after is None:
            return "not measured in both"
        if self.same:
            return "same"
        if min(self.repeats) < FEWEST:
            return f"one repeat, no interval: {self._factor}"
        if self.interval is None:
            return f"no interval: {self._factor}"
        words = interval_in_words(self.interval, 1.0)
        if 1.0 in self.interval:
            return f"no difference shown ({words} times)"
        return f"{self._factor} ({words})"

    @property
    def _factor(self) -> str:
        assert self.before is not None
        assert self.after is not None
        if math.isinf(self.before):
            return f"was infinity, is {show(self.after)}"
        return f"x {self.after / self.before:.3g}" if self.before else "was 0"


def compare(before: Run, after: Run) -> list[Change]:
    """Return the changes of the metrics SHOWN in every arm that both runs have.

    Of a search it is the capacity of every arm. A repeat whose record does not allow the metric is left out.
    The interval is that of one comparison: of
    twenty that compare what did not change, one shows a difference.
    Raises UserError for runs of different experiments, or without a common arm.
    """
    if before.name != after.name:
        raise UserError(
            f"{before.path} is a run of {before.name!r} and {after.path} one of {after.name!r}: "
            "expected two runs of the same experiment"
        )
    if before.experiment.search is not None:
        return _capacities_compared(before, after)
    arms = [arm for arm in before.experiment.variants if arm in after.experiment.variants]
    if not arms:
        raise UserError(f"{before.path} and {after.path} have no arm in common")
    left, right = _results(before), _results(after)
    return [_change(arm, metric, left[arm], right[arm]) for arm in arms for metric in SHOWN]


def _capacities_compared(before: Run, after: Run) -> list[Change]:
    old, new = (_capacities(run) for run in (before, after))
    return [
        Change(
            *(arm, CAPACITY, median(old[arm]), median(new[arm]), (len(old[arm]), len(new[arm]))),
            *(ratio_interval(old[arm], new[arm]), old[arm] == new[arm]),
        )
        for arm in old
        if arm in new
    ]


def _capacities(run: Run) -> dict[str, list[float]]:
    """Return arm -> the middle of the bracket of each repeat that has both ends."""
    search = search_summary(run.experiment, _results(run))
    return {
        name: [math.sqrt(one.low * one.high) for one in arm.repeats if one.low and one.high]
        for name, arm in (search.arms if search else {}).items()
    }


def differences(before: Run, after: Run) -> list[tuple[str, str, str]]:
    """Return what differed: (dotted name, before, after) of experiment, status, versions, host, machine."""
    left, right = _described(before), _described(after)
    pairs = [
        (name, left.get(name, "(none)"), right.get(name, "(none)"))
        for name in sorted(left.keys() | right.keys())
    ]
    return [(name, old, new) for name, old, new in pairs if old != new]


def print_comparison(before: Run, after: Run, console: Console) -> None:
    """Print what differed between the runs, then every shown metric of every common arm."""
    changes = compare(before, after)
    for name, old, new in differences(before, after):
        console.print(f"differs: {escape(name)}: {escape(old)} -> {escape(new)}", highlight=False)
    table = Table(header_style="bold", box=None)
    for heading in ("arm", "metric", "before", "after", "change"):
        table.add_column(heading, justify="right" if heading in ("before", "after") else "left", no_wrap=True)
    for change in changes:
        values = [show(value, METRICS[change.metric].unit) for value in (change.before, change.after)]
        table.add_row(escape(change.arm), change.metric, *values, change.note)
    console.print(table)


def _results(run: Run) -> dict[str, list[CellResult]]:
    return {arm: [measure(cell) for cell in cells] for arm, cells in facts_of(run).items()}


def _change(arm: str, metric: str, before: Sequence[CellResult], after: Sequence[CellResult]) -> Change:
    old, new = (_told(cells, metric) for cells in (before, after))
    interval = ratio_interval(old, new)
    return Change(arm, metric, median(old), median(new), (len(old), len(new)), interval, old == new)


def _told(cells: Sequence[CellResult], metric: str) -> list[float]:
    """Return the metric's values in the cells that can tell it."""
    return [value for cell in cells if cell.can_tell(metric) and (value := cell.values[metric]) is not None]


def _described(run: Run) -> dict[str, str]:
    fields = {"status", "versions", "host", "git_commit", "testbed", "load"}
    known = {
        "experiment": as_asked(run.experiment).model_dump(mode="json", exclude={"name", *WORDS}),
        **run.manifest.model_dump(mode="json", include=fields),
        "machine": _machine(run),
    }
    return dict(_flat(known, ""))


def _flat(tree: JsonValue, prefix: str) -> Iterator[tuple[str, str]]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _flat(value, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, str(tree)


def _machine(run: Run) -> dict[str, str]:
    """Return how busy others kept the machine, in steps of 5 %, so that two calm runs do not differ."""
    machines = [machine for cell in run.cells if (machine := read_machine(cell.folder)) is not None]
    states = {}
    for field in ("others_share", "steal_share"):
        known = [share for machine in machines if (share := getattr(machine, field)) is not None]
        if known:
            states[field] = f"{round(statistics.median(known) * 20) / 20:.0%} of the CPU"
    again = sum(len(planned.disturbed) for planned in run.manifest.cells)
    return {**states, "repeated_cells": str(again)} if machines else {}
