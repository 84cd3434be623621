"""Reads the CSV files of `rate_per_s: {shape: points, file: ...}` into the experiment."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.spec.rate import MAX_POINTS, SHAPE

MAX_BYTES = 1_000_000
Where = tuple[str, ...]


def fill_in_rates(tree: dict[str, Any], folder: Path) -> Iterator[tuple[Where, str]]:
    """Put the points of rate files in the place of the files' names, in the tree of an experiment file.

    folder: of the experiment file; the paths are relative to it. Yields the key and a sentence for each file
    that cannot be used. Leaves mistakes of types to the check of the fields.
    """
    for where, rate in _rates(tree):
        if isinstance(rate, dict) and rate.get(SHAPE) == "points" and isinstance(rate.get("file"), str):
            if "points_per_s" in rate:
                continue  # the check of the fields refuses both
            try:
                points = read_points(folder / rate["file"])
            except UserError as error:
                yield (*where, "file"), str(error)
                continue
            del rate["file"]
            rate["points_per_s"] = points


def _rates(tree: dict[str, Any]) -> Iterator[tuple[Where, Any]]:
    work, arms = tree.get("workload"), tree.get("arms")
    if isinstance(work, dict):
        yield ("workload", "rate_per_s"), work.get("rate_per_s")
    if isinstance(arms, dict):
        for name, arm in arms.items():
            if isinstance(arm, dict):
                yield ("arms", name, "rate_per_s"), arm.get("rate_per_s")


def read_points(path: Path) -> list[list[float]]:
    """Return [second, requests per second] of each line of a CSV file; its first line may be a title.

    Raises UserError for a file that cannot be read, or a line that is not two numbers.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{path}: not a regular file; expected a CSV file of points")
        if status.st_size > MAX_BYTES:
            raise UserError(f"{path}: {status.st_size:,} bytes; expected at most {MAX_BYTES:,}")
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not text in UTF-8; expected a CSV file of points") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read ({reason}); expected a CSV file of points") from None
    points = list(_points(path, text))
    if not 1 <= len(points) <= MAX_POINTS:
        raise UserError(f"{path}: {len(points):,} points; expected 1 to {MAX_POINTS:,}")
    return points


def _points(path: Path, text: str) -> Iterator[list[float]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        fields = line.split(",")
        try:
            second, rate = map(float, fields)
        except ValueError:
            if number == 1 and len(fields) == 2:
                continue  # the title
            found = line[:60]
            raise UserError(
                f"{path}:{number}: {found!r}; expected two numbers, second,requests per second"
            ) from None
        yield [second, rate]
