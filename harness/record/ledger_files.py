"""The ledgers of proxy and replicas: as written while measuring, and as one table each once a cell has ended.

While a cell runs, each replica appends to a CSV file and Envoy to its access log. When it has ended, they
become replicas.parquet and proxy.parquet. A run that was killed keeps the files as written; both read the
same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.fields import PROXY
from harness.record.access_log import CONNECTION_LOG, NODE, PROXY_COLUMNS, log_name, scan_access_log
from harness.record.record_file import there_is
from harness.record.tables import (
    REPLICA_COLUMNS,
    Columns,
    scan_csv,
    scan_rows,
    store_by_request,
)

if TYPE_CHECKING:
    import polars as pl

PROXY_STEM, REPLICAS_STEM = "proxy", "replicas"

REPLICAS_COLUMNS: Columns = {"replica": str, **REPLICA_COLUMNS}


def replica_csv(folder: Path, replica: str) -> Path:
    """Return the file to which a replica appends while it runs."""
    return folder / f"{replica}.csv"


def store_ledgers(folder: Path, replicas: Iterable[str], nodes: Collection[str] = ()) -> None:
    """Turn the finished ledgers of a cell into tables, and remove the files as written.

    `nodes`: of a proxy that has several. A log of connections stays as it is. Raises UserError naming the
    file that does not hold what it should.
    """
    csvs = [replica_csv(folder, name) for name in replicas if there_is(replica_csv(folder, name))]
    if csvs:
        names = [path.stem for path in csvs]
        store_by_request(_written_by_replicas(folder, names), folder / f"{REPLICAS_STEM}.parquet", csvs)
    logs = _access_logs(folder, nodes)
    if logs:
        store_by_request(_written_by_proxy(logs), folder / f"{PROXY_STEM}.parquet", [*logs.values()])


def scan_replicas(folder: Path, replicas: Iterable[str]) -> pl.LazyFrame | None:
    """Return REPLICAS_COLUMNS of all replicas; None where none has left a ledger."""
    if there_is(folder / f"{REPLICAS_STEM}.parquet"):
        return scan_rows(folder, REPLICAS_STEM, REPLICAS_COLUMNS)
    written = [name for name in replicas if there_is(replica_csv(folder, name))]
    return _written_by_replicas(folder, written) if written else None


def scan_proxy(folder: Path, nodes: Collection[str] = ()) -> pl.LazyFrame | None:
    """Return the proxy's ledger of requests (see scan_access_log); None where there is none.

    nodes: of a proxy that has several. Then the column NODE names the node. Raises UserError for a log that
    an earlier version has not turned into a table.
    """
    if there_is(folder / f"{PROXY_STEM}.parquet"):
        return scan_rows(folder, PROXY_STEM, {**PROXY_COLUMNS, NODE: str} if nodes else PROXY_COLUMNS)
    logs, earlier = _access_logs(folder, nodes), folder / CONNECTION_LOG
    if logs:
        return _written_by_proxy(logs)
    if there_is(earlier):
        raise UserError(
            f"{earlier}: an access log of a cell that lb-lab 0.3.0 has not finished; install lb-lab 0.3.0 to "
            "read it, or run the experiment again"
        )
    return None


def _access_logs(folder: Path, nodes: Collection[str]) -> dict[str, Path]:
    """Return node -> its log of requests, of those that there are."""
    logs = {node: folder / log_name(node) for node in nodes or [PROXY]}
    return {node: log for node, log in logs.items() if there_is(log)}


def _written_by_proxy(logs: Mapping[str, Path]) -> pl.LazyFrame:
    import polars as pl

    if PROXY in logs:
        return scan_access_log(logs[PROXY])
    return pl.concat(
        scan_access_log(log).with_columns(pl.lit(node).alias(NODE)) for node, log in logs.items()
    )


def _written_by_replicas(folder: Path, replicas: Iterable[str]) -> pl.LazyFrame:
    import polars as pl

    return pl.concat(
        scan_csv(replica_csv(folder, name), REPLICA_COLUMNS).select(
            pl.lit(name).alias("replica"), *REPLICA_COLUMNS
        )
        for name in replicas
    )
