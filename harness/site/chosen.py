"""Chooses the runs that the site shows: of each experiment the newest finished one with its own question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UserError
from harness.record.manifest import MANIFEST, Manifest
from harness.record.record_file import read_record
from harness.spec.experiment import OF_THE_QUESTION, Experiment, catalogue


@dataclass(frozen=True)
class StoredRun:
    """A finished run: its directory, and what its manifest says."""

    path: Path
    manifest: Manifest

    @property
    def simulated(self) -> bool:
        """Whether all of it was computed and nothing measured."""
        return self.manifest.testbed == "simulated"

    @property
    def changes(self) -> Mapping[str, int | float]:
        """The overrides that make it the answer to another question: field -> value."""
        return {name: value for name, value in self.manifest.overrides.items() if name in OF_THE_QUESTION}


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
    found = sorted(_stored(results / experiment.name, experiment.name, unreadable), key=_age, reverse=True)
    fitting = sorted((run for run in found if not run.changes), key=lambda run: run.simulated)
    others = [run for run in found if run.changes]
    return Choice(experiment, fitting[0] if fitting else None, others, unreadable)


def _stored(folder: Path, name: str, unreadable: list[str]) -> Iterator[StoredRun]:
    """Yield the finished runs of an experiment; append a line for each folder that cannot be read."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        # `latest` is a link to a run that has its own folder; a name with a dot is a run that is being made.
        if path.is_symlink() or path.name.startswith(".") or not (path / MANIFEST).exists():
            continue
        try:
            manifest = read_record(path / MANIFEST, Manifest)
        except UserError as error:
            unreadable.append(str(error))
            continue
        if manifest.status == "completed" and manifest.experiment == name:
            yield StoredRun(path, manifest)


def _age(run: StoredRun) -> tuple[str, str]:
    return run.manifest.started_utc, run.manifest.run
