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
from harness.record.ledger_files import scan_proxy, scan_replicas
from harness.record.manifest import MANIFEST, Manifest, PlannedCell, utc_now
from harness.record.prediction import PREDICTION
from harness.record.proxy_log import ProxyLog, read_proxy_log, with_logged_replica
from harness.record.record_file import read_record, there_is, write_record, write_text
from harness.record.seals import EXPERIMENT_FILE, file_hash, seal_of_cell
from harness.record.tables import scan_rows
from harness.spec.experiment import Experiment, load_experiment, with_searched_values
from harness.spec.own_service import UPSTREAM_LOG
from lb.rows import MESSAGE_COLUMNS, REQUEST_COLUMNS

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Cell:
    """One arm x one repeat of a stored run. Tables are polars LazyFrames, read when collected.

    proxy_log: the log of a load balancer that is not the lab's, where one was joined with the run. Then it is
    the proxy's ledger, and record.missing_ledgers lacks it no more.
    """

    folder: Path
    record: CellRecord
    proxy_log: ProxyLog | None = None

    def events(self) -> list[AskedEvent]:
        """Return what was changed while measuring, in the order in which it was asked for."""
        return read_events(self.folder / EVENTS)

    def endpoint_changes(self) -> list[EndpointChange]:
        """Return how Envoy saw its replicas, by time; empty where nobody watched."""
        return read_endpoint_changes(self.folder / EVENTS)

    def requests(self) -> pl.LazyFrame:
        """Return one row per RPC: lb.rows.REQUEST_COLUMNS.

        Where only the load balancer's log says who answered, its target stands for the replica.
        """
        rows = scan_rows(self.folder, "requests", REQUEST_COLUMNS)
        if self.proxy_log is None or self.record.replica_from != UPSTREAM_LOG:
            return rows
        return with_logged_replica(rows, self.proxy_log)

    def messages(self) -> pl.LazyFrame | None:
        """Return one row per stream message: lb.rows.MESSAGE_COLUMNS. None where there were no streams."""
        if not any(there_is(self.folder / f"messages.{end}") for end in ("parquet", "csv")):
            return None
        return scan_rows(self.folder, "messages", MESSAGE_COLUMNS)

    def replica_ledger(self) -> pl.LazyFrame | None:
        """Return the replicas' ledger, REPLICAS_COLUMNS; None where no replica has left one."""
        return scan_replicas(self.folder, self.record.replicas)

    def proxy_ledger(self) -> pl.LazyFrame | None:
        """Return the proxy's ledger, PROXY_COLUMNS: Envoy's (see scan_proxy), or the joined log.

        With the column NODE where the proxy has several nodes.

        None where there is no ledger of requests: on the route direct, and on envoy-l4, whose access log
        is one of connections.
        """
        if self.proxy_log is not None:
            return self.proxy_log.rows()
        return scan_proxy(self.folder, list(self.record.proxies)) if self.record.route == "envoy" else None

    @property
    def proxy_targets(self) -> dict[str, str]:
        """Address in the proxy's ledger -> replica."""
        if self.proxy_log is not None:
            return self.proxy_log.record.targets
        return {address: name for name, address in self.record.replicas.items()}

    @property
    def whole_proxy(self) -> bool:
        """Whether no row of the proxy's ledger is missing."""
        return not self.record.incomplete_proxy and not (self.proxy_log and self.proxy_log.record.missing)


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
    if not there_is(path / MANIFEST):
        raise UserError(
            f"{path}: not a run directory (expected {MANIFEST} in it); name one of results/<experiment>/<run>"
        )
    manifest = read_record(path / MANIFEST, Manifest)
    experiment_file = path / EXPERIMENT_FILE
    if not there_is(experiment_file):
        raise UserError(f"{experiment_file}: expected the experiment as run, no such file")
    experiment = load_experiment(str(experiment_file), name=manifest.experiment, stored=True)
    experiment = with_searched_values(experiment, _searched_values(manifest))
    cells = []
    for planned in manifest.cells:
        folder = path / "cells" / f"{planned.arm}.{planned.repeat}"
        recorded = there_is(folder / CELL_FILE) and any(folder.glob("requests.*"))
        if recorded or manifest.status == "completed":
            cells.append(_read_cell(path, folder))
    return Run(path, manifest, experiment, cells)


def _searched_values(manifest: Manifest) -> dict[str, list[float]]:
    """Return arm in the experiment -> the values that its search has measured, or was about to."""
    values: dict[str, list[float]] = {}
    for planned in manifest.cells:
        if planned.searched is not None:
            values.setdefault(planned.searched.arm, []).append(planned.searched.value)
    return values


def _read_cell(run: Path, folder: Path) -> Cell:
    """Return one cell, with the log of its load balancer if one was joined with the run."""
    record = read_record(folder / CELL_FILE, CellRecord)
    log = read_proxy_log(run, folder.name) if "envoy" in record.missing_ledgers else None
    if log is not None:
        lacking = {party: why for party, why in record.missing_ledgers.items() if party != "envoy"}
        update: dict[str, object] = {"missing_ledgers": lacking}
        if record.replica_from == UPSTREAM_LOG:
            update |= {"replicas": log.record.targets, "initial_replicas": list(log.record.targets)}
        record = record.model_copy(update=update)
    return Cell(folder, record, log)


class RunWriter:
    """Writes one run directory. `path` is the directory; `manifest` is what manifest.json now says."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def create(
        cls,
        results: Path,
        manifest: Manifest,
        experiment_yaml: str,
        beside: Iterable[Path] = (),
    ) -> RunWriter:
        """Make a new run directory below results/<experiment>/ with its manifest: whole, or not at all.

        beside: files that experiment.yaml names; they are copied.
        Raises UserError when the results folder cannot be written or has a name that is not UTF-8.
        """
        if any("\ud800" <= character <= "\udfff" for character in str(results)):
            raise UserError(
                f"results folder {results}: its name is not UTF-8, as Envoy's configuration has to be; "
                "name another folder with --results"
            )
        path = results / manifest.experiment / manifest.run
        draft = path.with_name(f".{manifest.run}.tmp")
        try:
            draft.mkdir(parents=True)
            write_text(draft / EXPERIMENT_FILE, experiment_yaml)
            for file in beside:
                shutil.copyfile(file, draft / file.name)
            manifest.experiment_seal = file_hash(draft / EXPERIMENT_FILE)
            write_record(draft / MANIFEST, manifest)
            draft.rename(path)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise UserError(
                f"results folder {results}: cannot be written ({error.strerror}); "
                "name a folder that you may write with --results"
            ) from error
        return cls(path, manifest)

    def plan(self, cells: Iterable[PlannedCell]) -> None:
        """Write into the manifest that these cells come next."""
        self.manifest.cells += cells
        self.write_manifest()

    def cell(self, arm: str, repeat: int) -> Path:
        """Make and return the folder of one cell; `repeat` counts from 1."""
        folder = self.path / "cells" / f"{arm}.{repeat}"
        folder.mkdir(parents=True)
        return folder

    def write_cell(self, folder: Path, record: CellRecord) -> None:
        """Write (or replace) cell.json of one cell."""
        write_record(folder / CELL_FILE, record)

    def seal_prediction(self) -> None:
        """Seal prediction.json. It is not to be written after that."""
        self.manifest.prediction_seal = file_hash(self.path / PREDICTION)
        self.write_manifest()

    def seal_cell(self, order: int) -> None:
        """Seal the cell with that place in the run's order. Its files are not to be written after that."""
        planned = self.manifest.cells[order]
        planned.seals = seal_of_cell(self.path / "cells" / f"{planned.arm}.{planned.repeat}")
        self.write_manifest()

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
