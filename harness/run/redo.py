"""Has disturbed cells measured again at once, within limits, and keeps the disturbed attempts."""

from collections.abc import Sequence

from harness.plan.cells import CellPlan
from harness.plan.run_options import RunOptions
from harness.record.cell_record import CELL_FILE, CellRecord
from harness.record.manifest import DisturbedAttempt, PlannedCell
from harness.record.record_file import own_folder, read_record
from harness.record.run_directory import Cell, RunWriter

FOLDER = "disturbed"
# The repetitions of a run take at most this many times the planned load (warm-up and measured time): on a
# machine that is never calm, the run takes twice as long.
MAX_EXTRA_LOAD = 1.0


class Redo:
    """Decides after each cell whether it is measured again, and keeps the manifest's list of attempts."""

    def __init__(self, plans: Sequence[CellPlan], writer: RunWriter, options: RunOptions) -> None:
        self._writer = writer
        self._redo = options.redo
        self._left_s = 0.0
        self._expects_workers = options.load.expect_workers > 0
        self._without: CellPlan | None = None
        self.more(plans)

    def more(self, plans: Sequence[CellPlan]) -> None:
        """Allow for these planned cells, which come next."""
        self._left_s += MAX_EXTRA_LOAD * sum(_load_s(plan) for plan in plans)
        if self._expects_workers and plans:
            # Load workers on other machines leave with the last planned cell.
            self._without = plans[-1]

    def set_aside(self, plan: CellPlan) -> str | None:
        """Move a disturbed cell away so that it can be measured again, and return the reason.

        None: the cell counts. If it counts although it was disturbed, cell.json has the reason.
        """
        # Polars is imported after the first cell, not before.
        from harness.analysis.disturbance import disturbance_of

        entry = self._writer.manifest.cells[plan.order]
        entry.attempts += 1
        folder = self._writer.path / "cells" / f"{plan.arm_name}.{plan.repeat}"
        record = read_record(folder / CELL_FILE, CellRecord)
        found = disturbance_of(Cell(folder, record))
        reason = None
        if found is not None:
            record.disturbed, record.disturbed_by = found.reason, found.cause
            self._writer.write_cell(folder, record)
            if found.worth_repeating and self._may_repeat(plan, entry):
                reason = found.reason
                self._left_s -= _load_s(plan)
                kept = f"{FOLDER}/{folder.name}.{entry.attempts}"
                own_folder(self._writer.path, FOLDER)
                folder.rename(self._writer.path / kept)
                entry.disturbed.append(DisturbedAttempt(attempt=entry.attempts, reason=reason, folder=kept))
        self._writer.write_manifest()
        return reason

    def _may_repeat(self, plan: CellPlan, entry: PlannedCell) -> bool:
        within = entry.attempts <= self._redo and _load_s(plan) <= self._left_s + 1e-9
        return within and plan is not self._without


def _load_s(plan: CellPlan) -> float:
    """Return the planned seconds of load of one attempt."""
    return plan.workload.warm_up_s + plan.workload.duration_s
