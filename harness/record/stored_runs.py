"""The finished runs of one experiment in a folder of results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UserError
from harness.record.manifest import MANIFEST, Manifest
from harness.record.record_file import read_record
from harness.spec.experiment import OF_THE_QUESTION


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

    @property
    def started(self) -> str:
        """When it began (UTC), to the minute: "2026-11-26 22:04"."""
        return self.manifest.started_utc[:16].replace("T", " ")

    @property
    def age(self) -> tuple[str, str]:
        """What orders runs by time."""
        return self.manifest.started_utc, self.manifest.run


def stored_runs(results: Path, name: str, unreadable: list[str]) -> list[StoredRun]:
    """Return the finished runs of the experiment `name`, the oldest first.

    Appends a line to `unreadable` for each folder that cannot be read.
    """
    return sorted(_stored(results / name, name, unreadable), key=lambda run: run.age)


def _stored(folder: Path, name: str, unreadable: list[str]) -> Iterator[StoredRun]:
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
