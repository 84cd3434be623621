"""Shows the progress of a run: a live line on a terminal, one line a cell elsewhere."""

from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from harness.output.safe_console import SafeConsole
from harness.plan.cells import CellPlan
from harness.plan.search import LEAST_CELLS
from harness.spec.experiment import Experiment
from load.order import LoadStatus

OVERHEAD_S = 1.0  # of a cell besides its load, for the estimate on the bar


class RunProgress:
    """Shows which cell runs and how far it is.

    `cells`: how many there are at least. `quiet` shows nothing. `computed`: cells take no time.
    """

    def __init__(self, experiment: Experiment, cells: int, quiet: bool, computed: bool = False) -> None:
        self._console = SafeConsole(stderr=True)
        self._live = self._console.is_terminal and not quiet
        self._lines = not self._console.is_terminal and not quiet
        self._cells = cells
        self._computed = computed
        self._planned = 0
        self._most_cells = cells // experiment.repeats.min * experiment.repeats.max
        if experiment.search is not None:
            self._most_cells = self._most_cells // LEAST_CELLS * experiment.search.max_cells
        work = experiment.workload
        self._cell_s = work.warm_up_s + work.duration_s + OVERHEAD_S
        note = TextColumn("{task.fields[note]}")
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), note)
        self._bar = Progress(*columns, console=self._console, transient=True, disable=not self._live)
        self._task = self._bar.add_task(experiment.name, total=cells * self._cell_s, note="")
        self._done_s = 0.0
        self._again_s = 0.0  # spent on cells that were measured again

    def __enter__(self) -> Self:
        if not self._computed:
            self._say(self._how_long())
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def cell(self, plan: CellPlan) -> None:
        """A cell begins."""
        self._done_s = plan.order * self._cell_s + self._again_s
        name = self._name(plan)
        self._bar.update(self._task, completed=self._done_s, description=name, note="starting")

    def load(self, elapsed_s: float, status: LoadStatus) -> None:
        """The load has run for `elapsed_s`; `status` is its last status (load-status.json)."""
        done_s = self._done_s + min(elapsed_s, self._cell_s)
        note = f"{status.state.replace('_', ' ')}, {status.answered:,} answered"
        self._bar.update(self._task, completed=done_s, note=note)

    def more(self, cells: int) -> None:
        """More cells come next. They may be more than there were to be at least."""
        self._planned += cells
        self._cells = max(self._cells, self._planned)
        self._bar.update(self._task, total=self._cells * self._cell_s + self._again_s)

    def again(self, plan: CellPlan, reason: str) -> None:
        """A cell that was disturbed begins anew."""
        self._again_s += self._cell_s
        self._bar.update(self._task, total=self._cells * self._cell_s + self._again_s)
        self._say(f"{self._name(plan)}: measured again, because {reason}")
        self.cell(plan)

    def cell_done(self, plan: CellPlan, answered: int) -> None:
        """A cell has ended."""
        if self._lines:
            self._console.print(f"{self._name(plan)}: {answered:,} calls", highlight=False)

    def _say(self, line: str) -> None:
        if self._lines or self._live:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _how_long(self) -> str:
        """Return how many cells there are, and how long they take about."""
        noun = "cell" if self._cells == 1 else "cells"
        cells = f"{self._cells} {noun}, about {_in_time(self._cells * self._cell_s)}"
        if self._most_cells == self._cells:
            return cells
        return (
            f"{cells}; up to {self._most_cells} cells, {_in_time(self._most_cells * self._cell_s)}, to decide"
        )

    def _name(self, plan: CellPlan) -> str:
        return f"cell {plan.order + 1}/{self._cells}: {plan.arm_name}, repeat {plan.repeat}"


def _in_time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
