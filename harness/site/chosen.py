"""Chooses the runs that the site shows: of each experiment the newest finished one with its own question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.record.stored_runs import StoredRun, stored_runs
from harness.spec.experiment import Experiment, catalogue


@dataclass(frozen=True)
class Choice:
    """The runs of one experiment. run: the one to show; None: there is none yet. others: finished runs with a
    changed question, newest first. unreadable: why runs were passed over, one line each. times_count: False
    where the lab itself does not count the times of the run, because the machine disturbed it."""

    experiment: Experiment
    run: StoredRun | None
    others: Sequence[StoredRun] = ()
    unreadable: Sequence[str] = ()
    times_count: bool = True


def choose_runs(results: Path) -> list[Choice]:
    """Return the choice for each experiment of the lab, in the order of the lessons.

    A measured run is preferred to any simulated one. A run that cannot be read is no error; it is named in
    `unreadable`.
    """
    return [_choose(results, experiment) for experiment in catalogue()]


def _choose(results: Path, experiment: Experiment) -> Choice:
    unreadable: list[str] = []
    found = stored_runs(results, experiment.name, unreadable)[::-1]
    fitting = sorted((run for run in found if not run.changes), key=lambda run: run.simulated)
    others = [run for run in found if run.changes]
    return Choice(experiment, fitting[0] if fitting else None, others, unreadable)
