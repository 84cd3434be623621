"""Reads the files of a run directory, as results/README.md describes them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from ruamel.yaml import YAML

Row = dict[str, Any]


@dataclass(frozen=True)
class CellFiles:
    """The files of one cell. Tables are None where the cell has no such file."""

    record: Row
    requests: pl.DataFrame
    messages: pl.DataFrame | None
    replicas: pl.DataFrame | None
    proxy: pl.DataFrame | None
    events: list[Row]
    machine: Row | None
    usage: list[Row]

    @property
    def start_ns(self) -> int:
        return int(self.record["measure_start_ns"])

    @property
    def end_ns(self) -> int:
        return int(self.record["measure_end_ns"])

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9

    @property
    def measured(self) -> pl.DataFrame:
        """The requests planned in the measured window."""
        return self.requests.filter(
            (pl.col("planned_ns") >= self.start_ns) & (pl.col("planned_ns") < self.end_ns)
        )


@dataclass(frozen=True)
class RunFiles:
    """The files of one run; `cells`: arm -> its cells by repeat."""

    manifest: Row
    experiment: Row
    summary: Row
    cells: dict[str, list[CellFiles]]


def read_run_files(directory: Path) -> RunFiles:
    """Read everything below `directory` that a recount needs."""
    manifest = _json(directory / "manifest.json")
    cells: dict[str, list[CellFiles]] = {}
    for planned in sorted(manifest["cells"], key=lambda cell: int(cell["repeat"])):
        folder = directory / "cells" / f"{planned['arm']}.{planned['repeat']}"
        cells.setdefault(planned["arm"], []).append(_read_cell(folder))
    return RunFiles(
        manifest=manifest,
        experiment=YAML(typ="safe").load(directory / "experiment.yaml"),
        summary=_json(directory / "summary.json"),
        cells=cells,
    )


def _read_cell(folder: Path) -> CellFiles:
    log = folder / "events.jsonl"
    machine = folder / "machine.json"
    requests = _table(folder / "requests.parquet")
    assert requests is not None, f"{folder}: no requests.parquet"
    return CellFiles(
        record=_json(folder / "cell.json"),
        requests=requests,
        messages=_table(folder / "messages.parquet"),
        replicas=_table(folder / "replicas.parquet"),
        proxy=_table(folder / "proxy.parquet"),
        events=[json.loads(line) for line in log.read_text().splitlines()] if log.exists() else [],
        machine=_json(machine) if machine.exists() else None,
        usage=_usage(folder / "usage.csv"),
    )


def _json(path: Path) -> Row:
    tree: Row = json.loads(path.read_text())
    return tree


def _table(path: Path) -> pl.DataFrame | None:
    return pl.read_parquet(path) if path.exists() else None


def _usage(path: Path) -> list[Row]:
    """Return the whole lines of usage.csv: its last one may be cut off."""
    if not path.exists():
        return []
    head, *lines = [line.split(",") for line in path.read_text().splitlines()]
    return [dict(zip(head, line, strict=True)) for line in lines if len(line) == len(head) and line[-1]]
