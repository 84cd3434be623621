"""What a run says before its first cell: how many cells there are, and how long they take."""

import pytest

from harness.run.progress import RunProgress
from harness.spec.experiment import load_experiment


@pytest.mark.parametrize(
    ("overrides", "cells", "told"),
    [
        ({}, 6, "6 cells, about 36 s; up to 18 cells, 2 min, to decide\n"),
        ({"repeats": 1}, 2, "2 cells, about 12 s\n"),
        ({"repeats": 1, "workload.duration_s": 98}, 1, "1 cell, about 2 min\n"),
    ],
)
def test_it_says_how_long_it_will_take(
    overrides: dict[str, float], cells: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunProgress(load_experiment("sticky", overrides), cells, quiet=False):
        pass
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(("quiet", "computed"), [(True, False), (False, True)])
def test_a_quiet_or_computed_run_does_not(
    quiet: bool, computed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunProgress(load_experiment("sticky"), 6, quiet, computed):
        pass
    assert capsys.readouterr().err == ""
