"""Writes the outcome of a simulated cell as the three ledgers, in the formats of a real run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.record.access_log import NODE, PROXY_COLUMNS
from harness.record.ledger_files import PROXY_STEM, REPLICAS_COLUMNS, REPLICAS_STEM
from harness.record.tables import Columns, column_types
from harness.testbed.simulated.codes import CODES
from lb.rows import REQUEST_COLUMNS

if TYPE_CHECKING:
    # Polars is imported when there is something to write: a command that only checks needs it never.
    import polars as pl

    from simulator.system import Calls, Costs, Integers, Outcome

METHOD = "AddVideo"
NOT_SIMULATED = ("details", "flags", "bytes_in", "bytes_out", "upstream_connection")
FIRST_CLIENT_PORT = 50_000
CACHE = {-1: "", 0: "miss", 1: "hit"}
CODE_NAMES = {number: name for name, number in CODES.items()}


@dataclass(frozen=True)
class SimulatedCell:
    """One simulated cell.

    request_ids: (calls,). replicas: name -> "host:port", in the order of the simulator's replicas.
    epoch_unix_ns: the cell's start on the wall clock. nodes: of a proxy that has several.
    """

    calls: Calls
    outcome: Outcome
    request_ids: Integers
    costs: Costs
    replicas: Mapping[str, str]
    route: str
    epoch_unix_ns: int
    nodes: Sequence[str] = ()


def write_ledgers(cell: SimulatedCell, folder: Path) -> int:
    """Write requests.parquet, replicas.parquet and, behind Envoy, proxy.parquet.

    Returns the number of calls that were made.
    """
    requests = _requests(cell)
    _store(requests, folder / "requests.parquet", REQUEST_COLUMNS)
    _store(_attempts(cell), folder / f"{REPLICAS_STEM}.parquet", REPLICAS_COLUMNS)
    if cell.route == "envoy":
        columns = {**PROXY_COLUMNS, NODE: str} if cell.nodes else PROXY_COLUMNS
        _store(_access_log(cell, requests), folder / f"{PROXY_STEM}.parquet", columns)
    return requests.height


def _store(table: pl.DataFrame, path: Path, columns: Columns) -> None:
    """Write a table with exactly these columns and their types; what is not simulated is null."""
    import polars as pl

    own = [
        (pl.lit(None) if name in NOT_SIMULATED else pl.col(name)).cast(kind).alias(name)
        for name, kind in column_types(columns).items()
    ]
    table.select(own).write_parquet(path, compression="zstd", compression_level=1)


def _requests(cell: SimulatedCell) -> pl.DataFrame:
    """Return the client's ledger. A call that its client gave up before it was sent has no row."""
    import polars as pl

    calls, outcome = cell.calls, cell.outcome
    columns: dict[str, object] = {
        **{name: getattr(outcome, name) for name in ("planned_ns", "sent_ns", "queue_ns", "service_ns")},
        **{"request_id": cell.request_ids, "client": calls.client, "done_ns": outcome.answered_ns},
        **{"in_flight": outcome.in_flight, "channel": calls.channel, "replica": outcome.replica},
        **{"code": outcome.code, "cache": outcome.cache, "tries": outcome.tries, "session": calls.session},
        "node": outcome.node,
    }
    return (
        pl.DataFrame(columns)
        # A client's sessions have ascending numbers; the ledger counts them from 0 for each client.
        .with_columns(session=pl.col("session").rank("dense").over("client") - 1)
        .filter(pl.col("sent_ns") >= 0)
        .with_columns(
            ready_ns="sent_ns",
            method=pl.lit(METHOD),
            messages=pl.col("code") == 0,
            connection=_connection(cell.route, len(cell.replicas), several=bool(cell.nodes)),
            code=pl.col("code").replace_strict(CODE_NAMES, return_dtype=pl.String),
            cache=pl.col("cache").replace_strict(CACHE, return_dtype=pl.String),
            replica=_replica_names(cell),
        )
    )


def _replica_names(cell: SimulatedCell) -> pl.Expr:
    import polars as pl

    names = {-1: "", **dict(enumerate(cell.replicas))}
    return pl.col("replica").replace_strict(names, return_dtype=pl.String)


def _connection(route: str, replicas: int, *, several: bool = False) -> pl.Expr:
    """Return the connection of a call. Envoy numbers its own; a replica names the caller's address."""
    import polars as pl

    channel = pl.col("channel")
    if route == "envoy":
        number = (channel + 1).cast(pl.String)
        named = pl.format("{}/{}", "node", number) if several else number
    elif route == "envoy-l4":
        named = pl.format("127.0.0.1:{}", FIRST_CLIENT_PORT + channel)
    else:  # a client that balances for itself has a connection to each replica
        named = pl.format("127.0.0.1:{}", FIRST_CLIENT_PORT + channel * replicas + pl.col("replica"))
    return pl.when(pl.col("replica") >= 0).then(named).otherwise(pl.lit(""))


def _peer(cell: SimulatedCell) -> pl.Expr:
    """Return whom a replica sees as its caller: the proxy of requests, or who made the connection."""
    import polars as pl

    if cell.route == "envoy":
        return pl.lit(f"127.0.0.1:{FIRST_CLIENT_PORT - 1}")
    return _connection(cell.route, len(cell.replicas))


def _attempts(cell: SimulatedCell) -> pl.DataFrame:
    """Return the replicas' ledgers in one table, in the order of ends, with the column replica."""
    import polars as pl

    made = cell.outcome.attempts
    columns: dict[str, object] = {
        **{name: getattr(made, name) for name in ("replica", "arrived_ns", "queue_ns", "service_ns")},
        **{"request_id": cell.request_ids[made.call], "done_ns": made.finished_ns},
        **{"in_flight": made.in_flight, "code": made.code, "channel": cell.calls.channel[made.call]},
    }
    return (
        pl.DataFrame(columns)
        .sort("done_ns", maintain_order=True)
        .with_columns(
            method=pl.lit(METHOD),
            peer=_peer(cell),
            messages=pl.col("code") == 0,
            code=pl.col("code").replace_strict(CODE_NAMES, return_dtype=pl.String),
            replica=_replica_names(cell),
        )
    )


def _access_log(cell: SimulatedCell, requests: pl.DataFrame) -> pl.DataFrame:
    """Return Envoy's access log, as far as the simulator knows what stands there."""
    import polars as pl

    started_ns = pl.col("sent_ns") + cell.costs.to_balancer_ns
    lasted_ns = pl.col("done_ns") - cell.costs.to_client_ns - started_ns
    upstream: dict[str, str | None] = {"": None, **cell.replicas}
    return requests.sort("done_ns", maintain_order=True).select(
        "request_id",
        path=pl.lit(f"/video_service.VideoService/{METHOD}"),
        start_unix_ns=cell.epoch_unix_ns + started_ns,
        duration_ms=lasted_ns // 1_000_000,
        duration_us=lasted_ns // 1_000,
        http=pl.lit(200),
        grpc="code",
        cluster=pl.lit("videos"),
        upstream=pl.col("replica").replace_strict(upstream, return_dtype=pl.String),
        attempts="tries",
        connection=pl.col("channel") + 1,
        **({NODE: pl.format("envoy-{}", "node")} if cell.nodes else {}),
    )
