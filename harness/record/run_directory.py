"""Writes and reads a run directory, results/<experiment>/<UTC time>-<id>/.

Facts are written once; all else in a run directory is derived from them. results/README.md explains it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.fields import Status
from harness.record.cell_record import CELL_FILE, CellRecord
from harness.record.event_log import EVENTS, AskedEvent, EndpointChange, read_endpoint_changes, read_events
from harness.record.manifest import MANIFEST, Manifest, PlannedCell, utc_now
from harness.record.record_file import read_record, write_record, write_text
from harness.record.tables import REPLICA_COLUMNS, scan_csv, scan_json_lines, scan_rows
from harness.spec.experiment import Experiment, load_experiment
from lb.rows import MESSAGE_COLUMNS, REQUEST_COLUMNS

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Cell:
    """One arm x one repeat of a stored run. Tables are polars LazyFrames, read when collected."""

    folder: Path
    record: CellRecord

    def events(self) -> list[AskedEvent]:
        """Return what was changed while measuring, in the order in which it was asked for."""
        return read_events(self.folder / EVENTS)

    def endpoint_changes(self) -> list[EndpointChange]:
        """Return how Envoy saw its replicas, by time; empty where nobody watched."""
        return read_endpoint_changes(self.folder / EVENTS)

    def requests(self) -> pl.LazyFrame:
        """Return one row per RPC: lb.rows.REQUEST_COLUMNS."""
        return scan_rows(self.folder, "requests", REQUEST_COLUMNS)

    def messages(self) -> pl.LazyFrame | None:
        """Return one row per stream message: lb.rows.MESSAGE_COLUMNS. None where there were no streams."""
        if not any((self.folder / f"messages.{end}").exists() for end in ("parquet", "csv")):
            return None
        return scan_rows(self.folder, "messages", MESSAGE_COLUMNS)

    def replica_ledgers(self) -> dict[str, pl.LazyFrame]:
        """Return replica name -> its own ledger, REPLICA_COLUMNS. A replica without a file is left out."""
        paths = {name: self.folder / f"{name}.csv" for name in self.record.replicas}
        return {name: scan_csv(path, REPLICA_COLUMNS) for name, path in paths.items() if path.exists()}

    def access_log(self) -> pl.LazyFrame | None:
        """Return Envoy's ledger: request_id, upstream ("host:port"; both may be null), bytes_in, bytes_out.

        None where Envoy keeps no ledger of requests: on the route direct, and on envoy-l4, whose access log
        is one of connections.
        """
        import polars as pl

        path = self.folder / "access.jsonl"
        if self.record.route != "envoy" or not path.exists():
            return None
        frame = scan_json_lines(path, {"request_id": str, "upstream": str, "bytes_in": int, "bytes_out": int})
        return frame.with_columns(pl.col("request_id").cast(pl.Int64, strict=False))


@dataclass(frozen=True)
class Run:
    """A stored run: manifest.json, the experiment as run, and the cells that left a record."""

    path: Path
    manifest: Manifest
    experiment: Experiment
    cells: list[Cell]

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.manifest.experiment

    def cells_of(self, arm: str) -> list[Cell]:
        """Return the recorded cells of one arm, by repeat."""
        cells = [cell for cell in self.cells if cell.record.arm == arm]
        return sorted(cells, key=lambda cell: cell.record.repeat)


def read_run(path: Path) -> Run:
    """Read a run directory; tables are checked when they are first used.

    Cells that an interrupted or failed run never recorded are left out. Raises UserError naming the file if
    the directory is not a run, has another schema, or is damaged.
    """
    if not (path / MANIFEST).is_file():
        raise UserError(
            f"{path}: not a run directory (expected {MANIFEST} in it); name one of results/<experiment>/<run>"
        )
    manifest = read_record(path / MANIFEST, Manifest)
    experiment_file = path / "experiment.yaml"
    if not experiment_file.is_file():
        raise UserError(f"{experiment_file}: expected the experiment as run, no such file")
    experiment = load_experiment(str(experiment_file), name=manifest.experiment)
    cells = []
    for planned in manifest.cells:
        folder = path / "cells" / f"{planned.arm}.{planned.repeat}"
        recorded = (folder / CELL_FILE).exists() and any(folder.glob("requests.*"))
        if recorded or manifest.status == "completed":
            cells.append(Cell(folder, read_record(folder / CELL_FILE, CellRecord)))
    return Run(path, manifest, experiment, cells)


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

    def plan(self, cells: Iterable[tuple[str, int]]) -> None:
        """Write into the manifest that these cells, (arm, repeat), come next."""
        self.manifest.cells += [PlannedCell(arm=arm, repeat=repeat) for arm, repeat in cells]
        self.write_manifest()

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
