"""Which attempt counts, what is kept of the others, and when repeating ends."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.summary import summarise
from harness.errors import UserError
from harness.plan.cells import CellPlan, plan_cells
from harness.plan.run_options import LoadOptions, RunOptions
from harness.record.cell_record import CELL_FILE, CellRecord, MachineRecord, write_machine
from harness.record.manifest import MANIFEST, DisturbedAttempt, Host, Manifest, PlannedCell
from harness.record.record_file import read_record
from harness.record.run_directory import RunWriter, read_run
from harness.run.redo import Redo
from harness.spec.experiment import experiment_yaml, load_experiment
from tests.unit.synthetic.handwritten_cell import MS, row, write_cell
from tests.unit.synthetic.handwritten_machine import BUSY, machine

pytestmark = pytest.mark.whole_run

STICKY = load_experiment("sticky", {"repeats": 1})
PLANS = plan_cells(STICKY)
LATE_MS = 300
DISTURBED = machine(BUSY, BUSY)


class Attempts:
    """A run whose cells are written by hand, one attempt after the other."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.options = RunOptions(results=folder, **options)
        manifest = Manifest(
            experiment="sticky",
            seed=1,
            versions={},
            host=Host(system="", machine="", cpus=None, memory_bytes=0),
            git_commit=None,
            redo=self.options.redo,
            cells=[PlannedCell(arm=plan.arm_name, repeat=plan.repeat) for plan in PLANS],
        )
        self.writer = RunWriter.create(folder, manifest, experiment_yaml(STICKY))
        self.redo = Redo(PLANS, self.writer, self.options)

    def measure(self, plan: CellPlan, late_ms: int = 0, machine: MachineRecord | None = None) -> str | None:
        """Write an attempt at the cell, `late_ms` late; what the lab makes of it."""
        folder = self.writer.cell(plan.arm_name, plan.repeat)
        rows = [
            row(n, "replica-0", planned_ns=10 * n * MS, sent_ns=(10 * n + late_ms) * MS, done_ns=10**9)
            for n in range(50)
        ]
        attempt = self.writer.manifest.cells[plan.order].attempts + 1
        cell = write_cell(folder, rows, arm=plan.arm_name, policy=plan.arm.policy, attempt=attempt)
        self.writer.write_cell(folder, cell.record)
        if machine is not None:
            write_machine(folder, machine)
        return self.redo.set_aside(plan)

    @property
    def cells(self) -> list[PlannedCell]:
        """The cells as the manifest on disk has them."""
        return read_record(self.writer.path / MANIFEST, Manifest).cells

    def record(self, folder: str) -> CellRecord:
        return read_record(self.writer.path / folder / CELL_FILE, CellRecord)


def test_a_calm_cell_is_measured_once(tmp_path: Path) -> None:
    run = Attempts(tmp_path)
    assert run.measure(PLANS[0], machine=machine()) is None
    assert run.cells[0].attempts == 1
    assert run.cells[0].disturbed == []
    assert run.cells[1].attempts == 0
    record = run.record(f"cells/{PLANS[0].arm_name}.1")
    assert (record.attempt, record.disturbed, record.disturbed_by) == (1, None, None)
    assert not (run.writer.path / "disturbed").exists()


def test_a_disturbed_cell_is_moved_away_with_its_reason(tmp_path: Path) -> None:
    run = Attempts(tmp_path)
    plan = PLANS[0]
    reason = run.measure(plan, LATE_MS, DISTURBED)
    late = "the generator sent 300 ms late at p99 (at most 50 ms)"
    assert reason == f"other processes took 1.6 of 2 CPU cores for 1.0 s; {late}"
    kept = f"disturbed/{plan.arm_name}.1.1"
    attempt = DisturbedAttempt(attempt=1, reason=reason, folder=kept)
    assert run.cells[0] == PlannedCell(arm=plan.arm_name, repeat=1, attempts=1, disturbed=[attempt])
    assert run.record(kept).disturbed == reason
    assert (run.writer.path / kept / "requests.parquet").exists()
    assert not (run.writer.path / "cells" / f"{plan.arm_name}.1").exists()
    assert run.measure(plan) is None
    assert (run.cells[0].attempts, run.record(f"cells/{plan.arm_name}.1").attempt) == (2, 2)


def test_nothing_is_moved_through_a_link(tmp_path: Path) -> None:
    run = Attempts(tmp_path / "results")
    (tmp_path / "outside").mkdir()
    (run.writer.path / "disturbed").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="disturbed: expected a folder of the run's own, found a link"):
        run.measure(PLANS[0], LATE_MS, DISTURBED)
    assert list((tmp_path / "outside").iterdir()) == []


def test_the_last_attempt_counts_whatever_disturbed_it(tmp_path: Path) -> None:
    run = Attempts(tmp_path)
    reasons = [run.measure(PLANS[0], LATE_MS, DISTURBED) for _ in range(3)]
    assert [bool(reason) for reason in reasons] == [True, True, False]
    assert run.cells[0].attempts == 3
    assert sorted(path.name for path in (run.writer.path / "disturbed").iterdir()) == [
        f"{PLANS[0].arm_name}.1.{attempt}" for attempt in (1, 2)
    ]
    record = run.record(f"cells/{PLANS[0].arm_name}.1")
    assert (record.attempt, record.disturbed_by) == (3, "processes")


@pytest.mark.parametrize("redo", [0, 1, 2])
def test_the_option_says_how_often(tmp_path: Path, redo: int) -> None:
    run = Attempts(tmp_path, redo=redo)
    again = 0
    while run.measure(PLANS[0], LATE_MS, DISTURBED):
        again += 1
    assert again == redo


def test_all_repetitions_together_take_no_more_load_than_the_plan(tmp_path: Path) -> None:
    run = Attempts(tmp_path, redo=10)
    again = 0
    for plan in PLANS:
        while run.measure(plan, LATE_MS, DISTURBED):
            again += 1
    assert again == len(PLANS)
    assert [cell.attempts for cell in run.cells] == [1 + len(PLANS), *[1] * (len(PLANS) - 1)]


def test_a_load_that_is_too_much_for_the_machine_is_not_repeated(tmp_path: Path) -> None:
    run = Attempts(tmp_path)
    assert run.measure(PLANS[0], LATE_MS, machine(BUSY, BUSY, lab_share=0.97)) is None
    assert run.record(f"cells/{PLANS[0].arm_name}.1").disturbed_by == "lab"


def test_workers_from_elsewhere_have_left_after_the_last_cell(tmp_path: Path) -> None:
    run = Attempts(tmp_path, load=LoadOptions(expect_workers=1))
    assert run.measure(PLANS[0], LATE_MS, DISTURBED) is not None
    assert run.measure(PLANS[-1], LATE_MS, DISTURBED) is None


def test_figures_are_of_the_last_attempts_and_the_others_are_named(tmp_path: Path) -> None:
    run = Attempts(tmp_path)
    first, second = PLANS
    run.measure(first, LATE_MS, DISTURBED)
    run.measure(first)
    run.measure(second, machine=machine())
    run.writer.finish("completed")
    summary = summarise(read_run(run.writer.path))
    (repeated,) = summary.repeated_cells
    assert (repeated.arm, repeated.repeat, repeated.attempt) == (first.arm_name, 1, 1)
    assert repeated.folder == f"disturbed/{first.arm_name}.1.1"
    assert summary.disturbed_cells == []
    assert [one.arm for one in summary.machine] == [second.arm_name]
    assert summary.arms[first.arm_name].requests == 50
    assert summary.arms[first.arm_name].metrics["lag_ms.max"] == 0

    shutil.rmtree(run.writer.path / "disturbed")
    assert summarise(read_run(run.writer.path)) == summary  # they are kept to be looked at, not read


def test_a_run_that_ends_before_the_second_attempt_reads(tmp_path: Path) -> None:
    run = Attempts(tmp_path)
    run.measure(PLANS[0], LATE_MS, DISTURBED)
    run.writer.cell(PLANS[0].arm_name, 1)  # the second attempt has begun
    stored = read_run(run.writer.path)
    assert stored.manifest.status == "interrupted"
    assert stored.cells == []
    assert len(summarise(stored).repeated_cells) == 1
