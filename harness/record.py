"""The run directory, results/<experiment>/<UTC time>-<id>/: writer, reader, schema.

Facts are written here once; whatever else a run directory holds is derived from them and can be rebuilt.
results/README.md explains every file and field.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError

if TYPE_CHECKING:
    # Polars takes a quarter of a second to import, and a run needs it only after its first cell:
    # functions that use it import it.
    import polars as pl

    from harness.spec import Experiment

SCHEMA = 1
MANIFEST = "manifest.json"

Columns = Mapping[str, type[int] | type[str]]

REPLICA_COLUMNS: Columns = {
    "request_id": int,
    "method": str,
    "peer": str,
    "arrived_ns": int,
    "done_ns": int,
    "queue_ns": int,
    "service_ns": int,
    "in_flight": int,
    "messages": int,
    "code": str,
}

_MANIFEST_FIELDS: dict[str, type | tuple[type, ...]] = {
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
_CELL_FIELDS: dict[str, type | tuple[type, ...]] = {
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


# ---------------------------------------------------------------------------------------------- writing


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON so that a reader sees the old file or the new one, never half of one."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


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
        """Make a new run directory below results/<experiment>/ and write its manifest.

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
        try:
            path.mkdir(parents=True)
            write_text(path / "experiment.yaml", experiment_yaml)
            write_json(path / MANIFEST, full)
        except OSError as error:
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

    def finish(self, status: str, error: str | None = None) -> None:
        """Write how the run ended: "completed", "interrupted" or "failed".

        A completed run becomes results/<experiment>/latest.
        """
        self.manifest |= {"status": status, "finished_utc": _utc_now(), "error": error}
        write_json(self.path / MANIFEST, self.manifest)
        if status == "completed":
            link = self.path.with_name(f".latest.{self.path.name}")
            link.symlink_to(self.path.name)
            link.replace(self.path.with_name("latest"))


def store_rows(csv: Path, parquet: Path, columns: Columns) -> None:
    """Turn a finished CSV ledger (header line, then rows) into parquet and remove it.

    A last line without its line end was torn by a kill and is dropped. The parquet file appears whole or
    not at all. An empty CSV gives a parquet file without rows.

    Raises UserError when the CSV does not hold `columns`.
    """
    temporary = parquet.with_name(f".{parquet.name}.{os.getpid()}.tmp")
    try:
        _scan_csv(csv, columns).sink_parquet(temporary, compression="zstd", compression_level=1)
        temporary.replace(parquet)
    finally:
        temporary.unlink(missing_ok=True)
    csv.unlink()


# ---------------------------------------------------------------------------------------------- tables


def _types(columns: Columns) -> dict[str, pl.DataType]:
    import polars as pl

    def of(name: str, kind: type) -> pl.DataType:
        if kind is str:
            return pl.String()
        return pl.Int64() if name.endswith("_ns") or name == "request_id" else pl.Int32()

    return {name: of(name, kind) for name, kind in columns.items()}


def _whole_lines(path: Path) -> int:
    """Number of lines that end in a line feed."""
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


@contextlib.contextmanager
def table_errors(path: Path, expected: str) -> Any:
    """Turn what polars says about a broken file into one UserError naming the file."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: expected {expected}, but it cannot be read ({reason[:200]})") from error


def _scan_csv(csv: Path, columns: Columns) -> pl.LazyFrame:
    """The rows of a CSV ledger, without a last line that a kill has torn."""
    import polars as pl

    types = _types(columns)
    lines = _whole_lines(csv)
    if lines == 0:
        return pl.LazyFrame(schema=types)
    with csv.open(encoding="utf-8") as file:
        header = file.readline().rstrip("\r\n").split(",")
    if header != list(columns):
        raise UserError(f"{csv}: expected the columns {','.join(columns)}, found {','.join(header)[:200]}")
    return pl.scan_csv(csv, schema=types, n_rows=lines - 1, empty_string_is_null=False, glob=False)
