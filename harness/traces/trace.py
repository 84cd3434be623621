"""A trace: one row a request, with hashed identities, and what was noticed while it was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from harness.errors import UserError

# Columns of Trace.table. `session` and `path` are there only if the log tells them.
COLUMNS: dict[str, tuple[pl.DataType, str]] = {
    "time_unix_ns": (pl.Int64(), "arrival at the load balancer, nanoseconds since 1970 (UTC)"),
    "client": (pl.UInt64(), "keyed hash of the client's identity; null where the log has none"),
    "session": (pl.UInt64(), "keyed hash of the session, where the log names one"),
    "target": (pl.UInt32(), "index of the target in Trace.targets; null without a target"),
    "status": (pl.Int16(), "HTTP status that the load balancer sent; null where it sent none"),
    "target_time_ns": (pl.Int64(), "time that the target took; null without a target"),
    "bytes_received": (pl.Int64(), "bytes of the request"),
    "bytes_sent": (pl.Int64(), "bytes of the answer"),
    "path": (pl.String(), "path of the URL, only with --keep-paths"),
}
OPTIONAL = ("session", "path")
SHOWN_BROKEN = 5
EXCERPT = 60  # characters of a broken line that are shown


@dataclass
class BrokenLines:
    """The lines that could not be read: how many of how many, and the first of them.

    first: (file, line number, what was found), at most SHOWN_BROKEN. The text is as in the file; who prints
    it must escape it. It may name people, so it is printed on the terminal and kept nowhere.
    """

    lines: int = 0
    broken: int = 0
    first: list[tuple[str, int, str]] = field(default_factory=list)

    def add(self, file: str, number: int, text: str) -> None:
        """Count one broken line."""
        self.broken += 1
        if len(self.first) < SHOWN_BROKEN:
            excerpt = text if len(text) <= EXCERPT else f"{text[:EXCERPT]}..."
            self.first.append((file, number, excerpt))

    @property
    def share(self) -> float:
        """Broken lines / all lines; 0 without lines."""
        return self.broken / self.lines if self.lines else 0.0


@dataclass(frozen=True)
class Trace:
    """The requests of some logs, sorted by time_unix_ns.

    table: COLUMNS, one row per request. targets: name of each target, in the order in which they first
    appear in the files. identity: what a client is, as the user chose it ("ip", "conn_trace_id", ...).
    broken: the lines that were left out. formats: file -> its format.
    """

    table: pl.DataFrame
    targets: Sequence[str]
    identity: str
    broken: BrokenLines
    formats: dict[str, str]

    @property
    def start_ns(self) -> int:
        """Time of the first request, nanoseconds since 1970."""
        return int(self.table["time_unix_ns"][0])

    @property
    def span_s(self) -> float:
        """Seconds from the first request to the last."""
        return (int(self.table["time_unix_ns"][-1]) - self.start_ns) / 1e9

    def save(self, path: Path) -> None:
        """Write the trace as Parquet, targets by name. Raises UserError if that is not possible."""
        named = self.table.with_columns(
            pl.Series(self.targets, dtype=pl.String).gather(self.table["target"]).alias("target")
        )
        try:
            named.write_parquet(path, compression="zstd")
        except OSError as error:
            raise UserError(f"{path}: the trace cannot be written ({error.strerror or error})") from None
