"""The run directory, results/<experiment>/<UTC time>-<id>/: writer, reader, schema.

Facts are written here once; whatever else a run directory holds is derived from them and can be rebuilt.
results/README.md explains every file and field.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.record_events import AskedEvent, EndpointChange, read_endpoint_changes, read_events
from harness.tables import REPLICA_COLUMNS, scan_csv, scan_json_lines, scan_rows
from harness.tables import store_rows as store_rows
from lb.rows import MESSAGE_COLUMNS, REQUEST_COLUMNS

if TYPE_CHECKING:
    # Polars takes a quarter of a second to import, and a run needs it only after its first cell:
    # functions that use it import it.
    import polars as pl

    from harness.spec import Experiment

SCHEMA = 1
MANIFEST = "manifest.json"
EVENTS = "events.jsonl"

_MANIFEST_FIELDS: dict[str, type] = {
    "experiment": str,
    "run": str,
    "status": str,
    "started_utc": str,
    "seed": int,
    "versions": dict,
    "host": dict,
    "overrides": dict,
    "cells": list,
}
_CELL_FIELDS: dict[str, type] = {
    "arm": str,
    "repeat": int,
    "route": str,
    "policy": str,
    "status": str,
    "replicas": dict,
    "planned_requests": int,
    "measure_start_ns": int,
    "measure_end_ns": int,
}


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON so that a reader sees the old file or the new one, never half of one."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text by temporary file and atomic rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class RunWriter:
    """Writes one run directory. `path` is the directory; `manifest` is what manifest.json now says."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def create(
        cls, results: Path, experiment: str, manifest: Mapping[str, Any], experiment_yaml: str
    ) -> RunWriter:
        """Make a new run directory below results/<experiment>/ with its manifest: whole, or not at all.

        `manifest` gives seed, versions, host, git_commit, overrides and cells; schema, experiment, run,
        status ("interrupted" until `finish`), times and error are filled in here.

        Raises UserError when the results folder cannot be written.
        """
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        path = results / experiment / name
        full = {
            "schema": SCHEMA,
            "experiment": experiment,
            "run": name,
            "status": "interrupted",
            "started_utc": _utc_now(),
            "finished_utc": None,
            **manifest,
            "error": None,
        }
        draft = path.with_name(f".{name}.tmp")
        try:
            draft.mkdir(parents=True)
            write_text(draft / "experiment.yaml", experiment_yaml)
            write_json(draft / MANIFEST, full)
            draft.rename(path)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise UserError(
                f"results folder {results}: cannot be written ({error.strerror}); "
                "name a folder that you may write with --results"
            ) from error
        return cls(path, full)

    def cell(self, arm: str, repeat: int) -> Path:
        """Make and return the folder of one cell; `repeat` counts from 1."""
        folder = self.path / "cells" / f"{arm}.{repeat}"
        folder.mkdir(parents=True)
        return folder

    def write_cell(self, folder: Path, cell: Mapping[str, Any]) -> None:
        """Write (or replace) cell.json of one cell."""
        write_json(folder / "cell.json", {"schema": SCHEMA, **cell})

    def write_manifest(self) -> None:
        """Write `manifest` as it is now."""
        write_json(self.path / MANIFEST, self.manifest)

    def finish(self, status: str, error: str | None = None) -> None:
        """Write how the run ended: "completed", "interrupted" or "failed".

        A completed run becomes results/<experiment>/latest.
        """
        self.manifest |= {"status": status, "finished_utc": _utc_now(), "error": error}
        self.write_manifest()
        if status == "completed":
            link = self.path.with_name(f".latest.{self.path.name}")
            link.symlink_to(self.path.name)
            link.replace(self.path.with_name("latest"))


@dataclass(frozen=True)
class Cell:
    """One arm x one repeat of a stored run. Tables are polars LazyFrames, read when collected."""

    folder: Path
    info: dict[str, Any]

    @property
    def arm(self) -> str:
        return str(self.info["arm"])

    @property
    def repeat(self) -> int:
        return int(self.info["repeat"])

    @property
    def status(self) -> str:
        return str(self.info["status"])

    @property
    def route(self) -> str:
        return str(self.info["route"])

    @property
    def most_attempts(self) -> int:
        """Attempts that one request may take, in all; 1 without retries."""
        return int(self.info.get("most_attempts", 1))

    @property
    def groups(self) -> dict[str, str]:
        """Replica name -> its target group; empty where the policy knows no groups."""
        return dict(self.info.get("groups", {}))

    @property
    def replicas(self) -> dict[str, str]:
        """Replica name -> "host:port"; also those that joined while measuring."""
        return dict(self.info["replicas"])

    @property
    def first_replicas(self) -> list[str]:
        """The replicas that were there when measuring began."""
        return list(self.info.get("first_replicas", self.info["replicas"]))

    @property
    def torn(self) -> frozenset[str]:
        """Replicas whose last rows may be lost, since they were killed."""
        return frozenset(self.info.get("torn", ()))

    @property
    def proxy_torn(self) -> bool:
        """Whether rows of Envoy's ledger may be lost, since it was killed or restarted."""
        return bool(self.info.get("proxy_torn", False))

    @property
    def no_ledgers(self) -> dict[str, str]:
        """Whose ledgers cannot be had ("envoy", "replica"), and why."""
        return dict(self.info.get("no_ledgers", {}))

    @property
    def load_workers(self) -> list[dict[str, Any]]:
        """The processes that made the calls; empty where it was one, without a master."""
        return list(self.info.get("load_workers", ()))

    @property
    def lost_clients(self) -> frozenset[int]:
        """Clients whose load worker was lost: they sent requests that their ledger lacks."""
        lost = (worker for worker in self.load_workers if worker["ended"] == "lost")
        return frozenset(client for worker in lost for client in worker["clients"])

    @property
    def awaits_answers(self) -> bool:
        """Whether clients sent on only after their last answer, and so fell behind the plan on purpose."""
        return bool(self.info.get("awaits_answers", False))

    def events(self) -> list[AskedEvent]:
        """What was changed while measuring, in the order in which it was asked for."""
        return read_events(self.folder / EVENTS)

    def endpoint_changes(self) -> list[EndpointChange]:
        """How Envoy saw its replicas, by time; empty where nobody watched."""
        return read_endpoint_changes(self.folder / EVENTS)

    def requests(self) -> pl.LazyFrame:
        """One row per RPC: lb.rows.REQUEST_COLUMNS."""
        return scan_rows(self.folder, "requests", REQUEST_COLUMNS)

    def messages(self) -> pl.LazyFrame | None:
        """One row per stream message: lb.rows.MESSAGE_COLUMNS. None where there were no streams."""
        if not any((self.folder / f"messages.{end}").exists() for end in ("parquet", "csv")):
            return None
        return scan_rows(self.folder, "messages", MESSAGE_COLUMNS)

    def replica_ledgers(self) -> dict[str, pl.LazyFrame]:
        """Replica name -> its own ledger, REPLICA_COLUMNS. A replica without a file is left out."""
        paths = {name: self.folder / f"{name}.csv" for name in self.replicas}
        return {name: scan_csv(path, REPLICA_COLUMNS) for name, path in paths.items() if path.exists()}

    def access_log(self) -> pl.LazyFrame | None:
        """Envoy's ledger: request_id (Int64 or null), upstream ("host:port" or null), bytes_in, bytes_out.

        Bytes are null in records of earlier labs. None where Envoy keeps no ledger of requests: on the
        route direct, and on envoy-l4, whose access log is one of connections.
        """
        import polars as pl

        path = self.folder / "access.jsonl"
        if self.route != "envoy" or not path.exists():
            return None
        frame = scan_json_lines(path, {"request_id": str, "upstream": str, "bytes_in": int, "bytes_out": int})
        return frame.with_columns(pl.col("request_id").cast(pl.Int64, strict=False))


@dataclass(frozen=True)
class Run:
    """A stored run: manifest.json, the experiment as run, and the cells that left a record."""

    path: Path
    manifest: dict[str, Any]
    experiment: Experiment
    cells: list[Cell] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The experiment's name."""
        return str(self.manifest["experiment"])

    def cells_of(self, arm: str) -> list[Cell]:
        """The recorded cells of one arm, by repeat."""
        return sorted((cell for cell in self.cells if cell.arm == arm), key=lambda cell: cell.repeat)


def read_run(path: Path) -> Run:
    """Read a run directory; tables are checked when they are first used.

    A cell that an interrupted or failed run never recorded is left out.

    Raises UserError naming the file when the directory is not a run, was written by a newer lab, or is
    damaged.
    """
    from harness.spec import load_experiment  # pydantic: the writer need not wait for it

    if not (path / MANIFEST).is_file():
        raise UserError(
            f"{path}: not a run directory (expected {MANIFEST} in it); name one of results/<experiment>/<run>"
        )
    manifest = _read_json(path / MANIFEST, _MANIFEST_FIELDS)
    if not (path / "experiment.yaml").is_file():
        raise UserError(f"{path / 'experiment.yaml'}: expected the experiment as run, no such file")
    experiment = load_experiment(str(path / "experiment.yaml"), name=manifest["experiment"])
    cells = []
    for planned in manifest["cells"]:
        cell = _read_cell(path, planned, complete=manifest["status"] == "completed")
        if cell is not None:
            cells.append(cell)
    return Run(path, manifest, experiment, cells)


def _read_cell(run: Path, planned: Any, *, complete: bool) -> Cell | None:
    if not isinstance(planned, dict) or not {"arm", "repeat"} <= planned.keys():
        raise UserError(f"{run / MANIFEST}: cells: expected objects with arm and repeat, found {planned!r}")
    folder = run / "cells" / f"{planned['arm']}.{planned['repeat']}"
    recorded = (folder / "cell.json").exists() and any(folder.glob("requests.*"))
    if not recorded and not complete:
        return None
    return Cell(folder, _read_json(folder / "cell.json", _CELL_FIELDS))


def _read_json(path: Path, fields: Mapping[str, type]) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: expected this file in a completed run, but there is none") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: expected JSON written by this lab ({error})") from error
    schema = value.get("schema") if isinstance(value, dict) else None
    if not isinstance(schema, int):
        raise UserError(f"{path}: expected a JSON object with schema {SCHEMA}, found schema {schema!r}")
    if schema > SCHEMA:
        raise UserError(f"{path}: written by a newer lb-lab (schema {schema}); this one reads up to {SCHEMA}")
    for name, kind in fields.items():
        if not isinstance(value.get(name), kind):
            raise UserError(f"{path}: {name}: expected {_kind_name(kind)}, found {value.get(name)!r}")
    return dict(value)


def _kind_name(kind: type) -> str:
    return {str: "text", int: "a whole number", dict: "an object", list: "a list"}[kind]
