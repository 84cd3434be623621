"""Decides after each repeat of a run whether another one is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from harness.plan.cells import CellPlan

if TYPE_CHECKING:
    from harness.analysis.validity import CellResult


def by_repeat(plans: Sequence[CellPlan]) -> list[list[CellPlan]]:
    """Return the cells of each repeat, in the order in which they are run."""
    return [list(cells) for _, cells in groupby(plans, key=lambda plan: plan.repeat)]


class Claims:
    """What the expectations of a run say of the cells recorded so far. `run`: the run's directory."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._results: dict[tuple[str, int], CellResult] = {}  # each cell is measured once

    def want_more_repeats(self) -> bool:
        """Return whether an expectation is not decided yet, and another repeat could decide it.

        Raises UserError when the record cannot be read.
        """
        # Polars is imported after the first cell, not before.
        from harness.analysis.facts import collect_facts
        from harness.analysis.judge import judge
        from harness.analysis.validity import measure
        from harness.record.run_directory import read_run

        run = read_run(self._run)
        for cell in run.cells:
            key = (cell.record.arm, cell.record.repeat)
            if key not in self._results:
                self._results[key] = measure(collect_facts(cell))
        results = {arm: list(self._of(arm)) for arm in run.experiment.variants}
        return judge(run.experiment, results, changes=run.manifest.changes).more_repeats_help

    def _of(self, arm: str) -> Iterator[CellResult]:
        return (result for (name, _), result in self._results.items() if name == arm)
