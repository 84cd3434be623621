"""Which cells of a run come next: those of the fewest repeats, then more while they help to decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from harness.plan.cells import CellPlan

if TYPE_CHECKING:
    from harness.analysis.search import Searches
    from harness.analysis.validity import CellResult
    from harness.record.run_directory import Run

# Cells that are run one after the other. What comes after them may depend on what they measure.
Rounds = Iterator[Sequence[CellPlan]]


def by_repeat(plans: Sequence[CellPlan]) -> list[list[CellPlan]]:
    """Return the cells of each repeat, in the order in which they are run."""
    return [list(cells) for _, cells in groupby(plans, key=lambda plan: plan.repeat)]


def planned_rounds(repeats: Sequence[Sequence[CellPlan]], least: int, claims: Claims) -> Rounds:
    """Yield the cells of the `least` repeats, then of each further one that helps. repeats: by_repeat."""
    yield [plan for cells in repeats[:least] for plan in cells]
    for cells in repeats[least:]:
        if not claims.want_more_repeats():
            return
        yield cells


class Claims:
    """What the cells recorded so far say of the expectations and searches of a run. `run`: its directory."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._results: dict[tuple[str, int], CellResult] = {}  # each cell is measured once

    def want_more_repeats(self) -> bool:
        """Return whether an expectation is not decided yet, and another repeat could decide it.

        Raises UserError when the record cannot be read.
        """
        from harness.analysis.judge import judge

        run, results = self._measured()
        return judge(run.experiment, results, changes=run.manifest.changes).more_repeats_help

    def searches(self) -> Searches:
        """Return the cells of each search so far. Raises UserError when the record cannot be read."""
        from harness.analysis.search import searches_of

        run, results = self._measured()
        return searches_of(run.experiment, results)

    def _measured(self) -> tuple[Run, dict[str, list[CellResult]]]:
        # Polars is imported after the first cell, not before.
        from harness.analysis.facts import collect_facts
        from harness.analysis.validity import measure
        from harness.record.run_directory import read_run

        run = read_run(self._run)
        for cell in run.cells:
            key = (cell.record.arm, cell.record.repeat)
            if key not in self._results:
                self._results[key] = measure(collect_facts(cell, experiment=run.experiment))
        return run, {arm: list(self._of(arm)) for arm in run.experiment.variants}

    def _of(self, arm: str) -> Iterator[CellResult]:
        return (result for (name, _), result in self._results.items() if name == arm)
