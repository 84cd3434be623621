"""Several experiments in one command: the exit status, and what `--quick` changes."""

from io import StringIO
from pathlib import Path

import pytest

from harness.cli.main import _load
from harness.cli.run_all import Outcome, _print, exit_status
from harness.output.safe_console import SafeConsole
from harness.plan.run_options import RunOptions
from harness.spec.experiment import load_experiment
from harness.spec.heads import experiment_names
from harness.spec.rate import changes_at_times


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        (["held", "held"], 0),
        (["held", "inconclusive"], 3),
        (["inconclusive", "refuted", "held"], 1),
        (["refuted", "failed", "inconclusive"], 4),
    ],
)
def test_the_worst_outcome_is_the_exit_status(verdicts: list[str], status: int) -> None:
    assert exit_status([Outcome("x", verdict, 0, 1, "") for verdict in verdicts]) == status


@pytest.mark.parametrize("name", experiment_names())
def test_quick_is_one_repeat_of_half_the_length_unless_its_times_need_it(name: str) -> None:
    whole = load_experiment(name)
    quick, options = _load(name, {}, quick=True, options=RunOptions())
    assert quick.repeats.max == 1
    eventful = any(whole.events_of(arm) for arm in whole.arms.values())
    timed = eventful or changes_at_times(whole.workload.rate_per_s)
    assert quick.workload.duration_s == whole.workload.duration_s / (1 if timed else 2)
    assert load_experiment(name, options.overrides) == quick
    assert options.changes == ()


def test_what_was_asked_for_stands_above_quick() -> None:
    asked = {"repeats": 2, "workload.skew": 0}
    quick, options = _load("sticky", asked, quick=True, options=RunOptions())
    assert (quick.repeats.max, options.overrides["repeats"]) == (2, 2)
    assert options.changes == ("--skew 0 instead of 1",)


def test_the_table_fits_80_columns_and_cuts_no_word(tmp_path: Path) -> None:
    name, reason = (
        "connection_sharing",
        "l4_own: spread.max_over_mean at least 1.5, measured 1.2 (not decided)",
    )
    report = (
        tmp_path / "a-long-name-of-a-folder-of-results" / name / "20261126T220220Z-04e0d9" / "report.html"
    )
    out = StringIO()
    outcomes = [
        Outcome(name, "held", 5, 5, report=report),
        Outcome("sticky", "inconclusive", 3, 4, reason, 2),
    ]
    _print(outcomes, SafeConsole(file=out, width=80))
    *table, place = out.getvalue().splitlines()
    assert all(len(line) <= 80 for line in table)
    assert f"│ {name} │ held         │  5/5 │" in out.getvalue()
    assert " ".join(out.getvalue().split()).count(reason) == 1
    assert place.startswith("Reports: ")  # the shorter of the full path and that from here
    assert place.endswith(f"/{report.parents[2].name}/EXPERIMENT/latest/report.html")
