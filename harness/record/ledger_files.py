"""The ledgers of proxy and replicas: as written while measuring, and as one table each once a cell has ended.

While a cell runs, each replica appends to a CSV file and Envoy to a JSON log. When it has ended, they become
replicas.parquet and proxy.parquet. A run that was killed keeps the files as written; both read the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.fields import PROXY
from harness.record.record_file import there_is
from harness.record.tables import (
    REPLICA_COLUMNS,
    Columns,
    by_request,
    scan_csv,
    scan_json_lines,
    scan_rows,
    sink_whole,
)

if TYPE_CHECKING:
    import polars as pl

ACCESS_LOG = "access.jsonl"
NODE = "proxy"  # the column of proxy.parquet that names the node, where the proxy has several
PROXY_STEM, REPLICAS_STEM = "proxy", "replicas"

REPLICAS_COLUMNS: Columns = {"replica": str, **REPLICA_COLUMNS}

# Of envoy/proxy.yaml.j2, in its order. `request_id` and `start` are text there.
_LOGGED: Columns = {
    "request_id": str,
    "path": str,
    "start": str,
    "duration_ms": int,
    "duration_us": int,
    "http": int,
    "grpc": str,
    "details": str,
    "flags": str,
    "cluster": str,
    "upstream": str,
    "attempts": int,
    "bytes_in": int,
    "bytes_out": int,
    "connection": int,
    "upstream_connection": int,
}
PROXY_COLUMNS: Columns = {
    **{name: int if name == "request_id" else kind for name, kind in _LOGGED.items() if name != "start"},
    "start_unix_ns": int,
}


def replica_csv(folder: Path, replica: str) -> Path:
    """Return the file to which a replica appends while it runs."""
    return folder / f"{replica}.csv"


def access_log_name(node: str) -> str:
    """Return the name of the access log that a node of the proxy writes."""
    return ACCESS_LOG if node == PROXY else f"access.{node}.jsonl"


def store_ledgers(folder: Path, replicas: Iterable[str], nodes: Sequence[str] | None) -> None:
    """Turn the finished ledgers of a cell into tables, and remove the files as written.

    `nodes`: of a proxy that has several; None: it logs no requests. Its log of connections stays as it is.
    Raises UserError naming the file that does not hold what it should.
    """
    csvs = [replica_csv(folder, name) for name in replicas if there_is(replica_csv(folder, name))]
    if csvs:
        names = [path.stem for path in csvs]
        rows = by_request(_written_by_replicas(folder, names))
        sink_whole(rows, folder / f"{REPLICAS_STEM}.parquet", csvs)
    logs = {} if nodes is None else _access_logs(folder, nodes)
    if logs:
        sink_whole(by_request(_written_by_proxy(logs)), folder / f"{PROXY_STEM}.parquet", list(logs.values()))


def scan_replicas(folder: Path, replicas: Iterable[str]) -> pl.LazyFrame | None:
    """Return REPLICAS_COLUMNS of all replicas; None where none has left a ledger."""
    if there_is(folder / f"{REPLICAS_STEM}.parquet"):
        return scan_rows(folder, REPLICAS_STEM, REPLICAS_COLUMNS)
    written = [name for name in replicas if there_is(replica_csv(folder, name))]
    return _written_by_replicas(folder, written) if written else None


def scan_proxy(folder: Path, nodes: Sequence[str] = ()) -> pl.LazyFrame | None:
    """Return PROXY_COLUMNS of the proxy's log of requests; None where there is none.

    nodes: of a proxy that has several. Then the column NODE names the node, too.

    request_id: null for a call that the lab did not send. upstream: "host:port", or null. grpc: null where
    the proxy gave no gRPC status. duration_us: null where the answer was not sent to its end.
    """
    if there_is(folder / f"{PROXY_STEM}.parquet"):
        return scan_rows(folder, PROXY_STEM, {**PROXY_COLUMNS, NODE: str} if nodes else PROXY_COLUMNS)
    logs = _access_logs(folder, nodes)
    return _written_by_proxy(logs) if logs else None


def _access_logs(folder: Path, nodes: Sequence[str]) -> dict[str, Path]:
    """Return node -> its access log, of those that there are."""
    logs = {node: folder / access_log_name(node) for node in nodes or [PROXY]}
    return {node: log for node, log in logs.items() if there_is(log)}


def _written_by_replicas(folder: Path, replicas: Iterable[str]) -> pl.LazyFrame:
    import polars as pl

    return pl.concat(
        scan_csv(replica_csv(folder, name), REPLICA_COLUMNS).select(
            pl.lit(name).alias("replica"), *REPLICA_COLUMNS
        )
        for name in replicas
    )


def _written_by_proxy(logs: Mapping[str, Path]) -> pl.LazyFrame:
    import polars as pl

    if PROXY in logs:
        return _logged_by(logs[PROXY])
    return pl.concat(_logged_by(log).with_columns(pl.lit(node).alias(NODE)) for node, log in logs.items())


def _logged_by(log: Path) -> pl.LazyFrame:
    import polars as pl

    # "%s.%9f": without its point, the number of nanoseconds.
    start = pl.col("start").str.replace(".", "", literal=True).cast(pl.Int64, strict=False)
    return (
        scan_json_lines(log, _LOGGED)
        .with_columns(pl.col("request_id").cast(pl.Int64, strict=False), start.alias("start_unix_ns"))
        .select(*PROXY_COLUMNS)
    )
