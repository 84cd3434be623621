"""joined/<arm>.<repeat>.parquet: one row a request, with what all ledgers have of it. It is derived.

The table to open in a notebook. Its columns are declared here; harness.analysis.joined makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from harness.metrics.stages import STAGES

FOLDER = "joined"
MAX_WRITTEN = 2_000_000  # requests of a cell: the table of a larger one is not written

STAGE_COLUMNS: Mapping[str, str] = {name: f"stage_{name}_ns" for name in STAGES}


class Column(NamedTuple):
    """One column: its type in words, and what it means."""

    kind: str
    meaning: str


_IDENTITY = {
    "request_id": Column("int64", "as in the ledgers"),
    "client": Column("int32", "who called"),
    "session": Column("int32", "number of the client's session, from 0"),
    "method": Column("text", "RPC"),
    "in_window": Column("bool", "whether it was planned for the measured window"),
}
_OUTCOME = {
    "code": Column("text", "gRPC status that the client got"),
    "replica": Column("text", "who answered, as the client was told; empty if nobody did"),
    "cache": Column("text", "`hit` or `miss`; empty without a cache"),
    "connection": Column("text", "the client's connection, as it was told; empty without an answer"),
    "proxy_rows": Column("int64", "rows of the proxy's ledger: 0 where the proxy does not have the request"),
    "proxy_attempts": Column("int64", "attempts that the proxy made for it, in all its rows"),
    "proxy_code": Column("text", "gRPC status in the proxy's ledger (of its last row); null: none"),
    "proxy_http": Column("int32", "HTTP status there"),
    "proxy_flags": Column("text", "Envoy's response flags there"),
    "proxy_details": Column("text", "Envoy's response code details there"),
    "proxy_replica": Column("text", "replica to which the proxy sent it last"),
    "proxy_node": Column("text", "the node of the proxy that had it; null where there is one node"),
    "proxy_zone": Column("text", "the node's zone; null without zones"),
    "replica_zone": Column("text", "the zone of `replica`; null without zones"),
    "proxy_connection": Column(
        "int32",
        "the client's connection, as the proxy numbers it; of several nodes, plus a million times the "
        "node's number",
    ),
    "replica_rows": Column("int64", "attempts that reached a replica: rows of the replicas' ledgers"),
    "replica_code": Column("text", "gRPC status in the replica's ledger (of the last attempt)"),
    "answered_by": Column("text", "replica that had the last attempt"),
    "peer": Column("text", "the caller of the replica: `host:port`"),
    "queue_ns": Column("int64", "the last attempt's wait for a slot"),
    "service_ns": Column("int64", "the last attempt's time in a slot"),
    "in_flight": Column("int32", "requests inside the replica, this one included, when it arrived"),
    "messages": Column("int32", "messages that the replica sent"),
}
_MOMENTS = {
    "planned_ns": Column("int64", "when it should have been sent"),
    "ready_ns": Column(
        "int64", "when it could be sent: later than planned if the client waits for an answer"
    ),
    "sent_ns": Column("int64", "when the client called gRPC"),
    "stream_ns": Column(
        "int64",
        "when a stream of its connection became free: the last end of a request at the proxy while the "
        "connection was full (128 requests), between the send and `proxy_ns`; null: it waited for none",
    ),
    "proxy_ns": Column("int64", "when the proxy first had its headers"),
    "retried_ns": Column("int64", "when the last attempt before the final one had ended; null: none did"),
    "arrived_ns": Column("int64", "when the replica had it (the last attempt)"),
    "started_ns": Column("int64", "when it got a slot (the last attempt)"),
    "finished_ns": Column("int64", "when the replica had finished it (the last attempt)"),
    "proxied_ns": Column("int64", "when the proxy had sent the answer on, or had cut it off"),
    "done_ns": Column("int64", "when the client had the answer, or gave up"),
}
_DURATIONS = {
    column: Column("int64", f"stage *{STAGES[name].label}*; null where the cell has no such stage")
    for name, column in STAGE_COLUMNS.items()
} | {
    "generator_ns": Column("int64", "the load generator's own share of the latency"),
}

JOINED_COLUMNS: Mapping[str, Column] = {**_IDENTITY, **_OUTCOME, **_MOMENTS, **_DURATIONS}
