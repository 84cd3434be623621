"""Seals: SHA-256 hashes of experiment.yaml, of prediction.json and of every finished cell's files.

They are in manifest.json. A seal shows that a file was changed after the run, by accident or by an edit. Who
changes a file and its seal is noticed only if the contents contradict each other: see
harness.analysis.contradictions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.errors import UserError
from harness.record.manifest import Manifest
from harness.record.prediction import PREDICTION
from harness.record.record_file import there_is

EXPERIMENT_FILE = "experiment.yaml"
# Files that the analysis would read. One that the run did not write is no part of its record.
_READ = ("*.json", "*.jsonl", "*.parquet", "*.csv", "access*.log")


def file_hash(path: Path) -> str:
    """Return the SHA-256 hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal_of_cell(folder: Path) -> dict[str, str]:
    """Return path below the cell's folder -> hash, for each of its files, sorted."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): file_hash(path) for path in files}


def broken_seals(run_dir: Path, manifest: Manifest) -> dict[str, tuple[str, ...]]:
    """Return what is wrong with the seals of a run: cell folder's name -> sentences.

    The key "" is the run itself. Empty where every seal is whole. Only a completed run must have all its
    seals; of an interrupted one the cell that was cut short has none. Raises UserError naming a file that
    cannot be read.
    """
    finished = manifest.status == "completed"
    of_run = [*_of_file(run_dir / EXPERIMENT_FILE, manifest.experiment_seal, must_be=finished)]
    of_run += _of_file(run_dir / PREDICTION, manifest.prediction_seal, must_be=False)
    found = {"": tuple(of_run)}
    for planned in manifest.cells:
        folder = run_dir / "cells" / f"{planned.arm}.{planned.repeat}"
        if planned.seals:
            found[folder.name] = tuple(_of_cell(folder, planned.seals))
        elif finished:
            found[folder.name] = (f"cells/{folder.name} has no seal in manifest.json",)
    return {name: sentences for name, sentences in found.items() if sentences}


def _of_file(path: Path, seal: str | None, *, must_be: bool) -> Iterator[str]:
    """Yield what is wrong with the seal of a file of the run itself."""
    if seal is None:
        if must_be:
            yield f"{path.name} has no seal in manifest.json"
    elif (found := _hash(path)) != seal:
        what = "is missing" if found is None else "was changed after the run"
        yield f"the seal of {path.name} is broken: the file {what}"


def _of_cell(folder: Path, seals: Mapping[str, str]) -> list[str]:
    sentences = []
    for name, seal in seals.items():
        found = _hash(folder / name)
        if found != seal:
            what = "the file is missing" if found is None else "the file was changed after the run"
            sentences.append(f"the seal of cells/{folder.name}/{name} is broken: {what}")
    there = {path.name for pattern in _READ for path in folder.glob(pattern)}
    sentences += [
        f"cells/{folder.name}/{name} has no seal: the run did not write it"
        for name in sorted(there - seals.keys())
    ]
    return sentences


def _hash(path: Path) -> str | None:
    """Return the hash of a file; None if there is none. Raises UserError when it cannot be read."""
    try:
        return file_hash(path) if there_is(path) else None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
