"""Writes a run directory, results/<experiment>/<UTC time>-<id>/.

Facts are written once; all else in a run directory is derived from them. results/README.md explains it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.errors import UserError
from harness.fields import Status
from harness.record.cell_record import CELL_FILE, CellRecord
from harness.record.manifest import MANIFEST, Manifest, utc_now
from harness.record.record_file import write_record, write_text


class RunWriter:
    """Writes one run directory. `path` is the directory; `manifest` is what manifest.json now says."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def create(cls, results: Path, manifest: Manifest, experiment_yaml: str) -> RunWriter:
        """Make a new run directory below results/<experiment>/ with its manifest: whole, or not at all.

        Raises UserError when the results folder cannot be written.
        """
        path = results / manifest.experiment / manifest.run
        draft = path.with_name(f".{manifest.run}.tmp")
        try:
            draft.mkdir(parents=True)
            write_text(draft / "experiment.yaml", experiment_yaml)
            write_record(draft / MANIFEST, manifest)
            draft.rename(path)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise UserError(
                f"results folder {results}: cannot be written ({error.strerror}); "
                "name a folder that you may write with --results"
            ) from error
        return cls(path, manifest)

    def cell(self, arm: str, repeat: int) -> Path:
        """Make and return the folder of one cell; `repeat` counts from 1."""
        folder = self.path / "cells" / f"{arm}.{repeat}"
        folder.mkdir(parents=True)
        return folder

    def write_cell(self, folder: Path, record: CellRecord) -> None:
        """Write (or replace) cell.json of one cell."""
        write_record(folder / CELL_FILE, record)

    def write_manifest(self) -> None:
        """Write `manifest` as it is now."""
        write_record(self.path / MANIFEST, self.manifest)

    def finish(self, status: Status, error: str | None = None) -> None:
        """Write how the run ended."""
        self.manifest.status, self.manifest.error = status, error
        self.manifest.finished_utc = utc_now()
        self.write_manifest()

    def link_latest(self) -> str | None:
        """Make this run results/<experiment>/latest; return a warning if that cannot be a link, else None."""
        latest, link = self.path.with_name("latest"), self.path.with_name(f".latest.{self.path.name}")
        try:
            link.symlink_to(self.path.name)
            link.replace(latest)
        except OSError as error:
            link.unlink(missing_ok=True)
            return f"{latest} does not lead to this run ({error.strerror}); it is in {self.path}"
        return None
