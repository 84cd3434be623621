"""Tells the format of a log file from its name and first line."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from harness.errors import UserError
from harness.traces import alb, envoy
from harness.traces.line_batches import first_bytes

LogFormat = Literal["alb", "envoy", "json", "csv", "parquet"]
FORMATS: tuple[LogFormat, ...] = get_args(LogFormat)


def format_of(path: Path) -> LogFormat:
    """Return the format. Raises UserError if the file is empty or looks like none of them."""
    beginning = first_bytes(path)
    if beginning.startswith(b"PAR1"):
        return "parquet"
    lines = [line for line in beginning.split(b"\n")[:20] if line.strip()]
    if not lines and path.stat().st_size:
        raise UserError(f"{path}: no line of it can be read; is the gzip data damaged? Expected a log")
    if not lines:
        raise UserError(f"{path}: the file is empty; expected an access log")
    for line in lines:
        if alb.FIRST_LINE.match(line):
            return "alb"
        if envoy.FIRST_LINE.match(line):
            return "envoy"
        if line.lstrip().startswith(b"{"):
            return "json"
    if path.name.removesuffix(".gz").endswith(".csv"):
        return "csv"
    raise UserError(
        f"{path}: none of its first lines is of a known format; say which with --format: {', '.join(FORMATS)}"
    )
