"""proxy-log/: the access log of a load balancer that is not the lab's, as the third ledger of a run.

`report DIR --proxy-log FILE...` writes it after the run: for each cell a table and a record of what is known
of it. Every other reader of the run directory then finds the proxy's ledger there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from harness.record.access_log import PROXY_COLUMNS
from harness.record.record_file import Record, own_folder, read_record, there_is, whole_file, write_record
from harness.record.tables import scan_rows

if TYPE_CHECKING:
    import polars as pl

FOLDER = "proxy-log"

LogKind = Literal["alb", "envoy", "json"]


class ProxyLogRecord(Record):
    """What is known of the load balancer's log of one cell."""

    kind: LogKind = Field(
        description="format of the log: `alb`, `envoy` (its default text) or `json` (Envoy's, JSON lines)"
    )
    files: list[str] = Field(description="names of the log files that were read, without their folders")
    requests: int = Field(description="rows of the log that are requests of this cell")
    missing: int = Field(description="requests that ended with OK and that the log lacks")
    targets: dict[str, str] = Field(description="address in the log -> replica that answered there")


@dataclass(frozen=True)
class ProxyLog:
    """The log of one cell: its record, and its table PROXY_COLUMNS below `folder`.

    In the table, what such a log does not tell is null: codes, details, the proxy's numbers of connections to
    replicas; in an ALB's also flags and bytes. `attempts` is 1.
    """

    folder: Path
    cell: str
    record: ProxyLogRecord

    def rows(self) -> pl.LazyFrame:
        """Return one row a request, PROXY_COLUMNS. Raises UserError naming a file of other columns."""
        return scan_rows(self.folder, self.cell, PROXY_COLUMNS)


def read_proxy_log(run: Path, cell: str) -> ProxyLog | None:
    """Return the log of the cell with that folder name; None if none was joined with the run.

    Raises UserError naming the file when it is damaged.
    """
    path = run / FOLDER / f"{cell}.json"
    if not there_is(path):
        return None
    return ProxyLog(path.parent, cell, read_record(path, ProxyLogRecord))


def write_proxy_log(run: Path, cell: str, record: ProxyLogRecord, rows: pl.DataFrame) -> None:
    """Write (or replace) the log of one cell. rows: PROXY_COLUMNS."""
    folder = own_folder(run, FOLDER)
    with whole_file(folder / f"{cell}.parquet") as file:
        rows.write_parquet(file, compression="zstd")
    write_record(folder / f"{cell}.json", record)


def with_logged_replica(requests: pl.LazyFrame, log: ProxyLog) -> pl.LazyFrame:
    """Return the clients' requests with the target of the log as `replica`; "" where the log has none."""
    import polars as pl

    last = log.rows().sort("start_unix_ns").group_by("request_id").agg(pl.col("upstream").last())
    columns = requests.collect_schema().names()
    named = requests.join(last, on="request_id", how="left")
    return named.with_columns(pl.col("upstream").fill_null("").alias("replica")).select(columns)
