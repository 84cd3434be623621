"""Cells of a handful of rows, written by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.record.access_log import ACCESS_LOG
from harness.record.cell_record import CellRecord
from harness.record.event_log import (
    EVENTS,
    Asked,
    CellStarted,
    EndpointChange,
    Line,
    TookEffect,
    line_text,
)
from harness.record.ledger_files import replica_csv
from harness.record.run_directory import Cell
from harness.record.tables import REPLICA_COLUMNS, store_rows
from lb.rows import MESSAGE_COLUMNS, REQUEST_COLUMNS
from tests.unit.synthetic.access_lines import access_line

REPLICAS = {"replica-0": "127.0.0.1:4000", "replica-1": "127.0.0.1:4001"}
MS = 1_000_000


def row(request_id: int, replica: str, **more: Any) -> dict[str, Any]:
    """One request of client 0, planned and ready at 0, sent 1 ms and done 3 ms later."""
    common = {"client": request_id // 10**9, "session": 0, "method": "AddVideo", "code": "OK"}
    planned = {"planned_ns": 0, "ready_ns": more.get("planned_ns", 0)}
    times = {**planned, "sent_ns": MS, "done_ns": 3 * MS, "queue_ns": 0, "service_ns": MS}
    rest = {"in_flight": 1, "messages": 1, "connection": "c", "cache": ""}
    return {"request_id": request_id, "replica": replica, **common, **times, **rest, **more}


def message(request_id: int, replica: str, number: int = 0, **more: Any) -> dict[str, Any]:
    """One message of a stream, planned at 0, sent 1 ms and received 2 ms later."""
    times = {"planned_ns": 0, "sent_ns": MS, "received_ns": 2 * MS}
    return {"request_id": request_id, "message": number, "replica": replica, **times, **more}


def asked(
    number: int, at_ms: float, do: str, *targets: str, undoes: int | None = None, **details: Any
) -> Asked:
    """A line of events.jsonl: an event that was asked for."""
    at_ns = int(at_ms * MS)
    return Asked(
        t_ns=at_ns,
        number=number,
        do=do,
        targets=list(targets),
        planned_ns=at_ns,
        undoes=undoes,
        notification="somehow",
        details=details,
    )


def took_effect(number: int, at_ms: float, target: str) -> TookEffect:
    """A line of events.jsonl: it was seen to have taken effect."""
    return TookEffect(t_ns=int(at_ms * MS), number=number, target=target, seen="process ended")


def endpoint(at_ms: float, replica: str, state: str) -> EndpointChange:
    """A line of events.jsonl: how Envoy saw a replica from then on."""
    return EndpointChange(t_ns=int(at_ms * MS), replica=replica, state=state)


def write_events(folder: Path, lines: Sequence[Line]) -> Path:
    """Write events.jsonl with its first line and these; return its path."""
    (folder / EVENTS).write_text("".join(map(line_text, (CellStarted(), *lines))))
    return folder / EVENTS


def write_cell(
    folder: Path,
    rows: Sequence[dict[str, Any]],
    *,
    envoy: Sequence[tuple[object, str | None]] | None = None,
    replica: Sequence[tuple[int, str]] | None = None,
    messages: Sequence[dict[str, Any]] | None = None,
    route: str = "envoy",
    events: Sequence[Line] = (),
    **info: Any,
) -> Cell:
    """A completed cell of one second. envoy: (request id, upstream); replica: (request id, replica).

    Ledgers that are not given agree with `rows`. `messages`: rows of streams, if there were any. In the
    replicas' ledgers all ended with OK, and what they waited is in `rows`. `events`: lines of events.jsonl.
    """
    answered = [(entry["request_id"], entry["replica"]) for entry in rows if entry["replica"]]
    if envoy is None:
        envoy = [(request_id, REPLICAS.get(name)) for request_id, name in answered]
    if replica is None:
        replica = answered
    _store(folder, "requests", rows, REQUEST_COLUMNS)
    if messages is not None:
        _store(folder, "messages", messages, MESSAGE_COLUMNS)
    told = {entry["request_id"]: entry for entry in rows}
    for name in REPLICAS:
        own = [
            _replica_line(told.get(request_id, {}), request_id) for request_id, at in replica if at == name
        ]
        replica_csv(folder, name).write_text("".join([",".join(REPLICA_COLUMNS) + "\n", *own]))
    if route == "envoy":
        lines = [
            _envoy_line(told.get(request_id, {}), request_id, upstream) for request_id, upstream in envoy
        ]
        (folder / ACCESS_LOG).write_text("".join(lines))
    if events:
        write_events(folder, events)
    base = {"arm": "a", "repeat": 1, "order": 0, "status": "completed", "route": route, "policy": "p"}
    there = {"replicas": REPLICAS, "initial_replicas": list(REPLICAS), "proxy_workers": 1}
    window = {"measure_start_ns": 0, "measure_end_ns": 1000 * MS, "planned_requests": len(rows)}
    return Cell(
        folder,
        CellRecord.model_validate(
            {
                **base,
                **there,
                **window,
                "planned_rate_per_s": 10.0,
                "messages_per_stream": 1,
                "epoch_unix_ns": 0,
                **info,
            }
        ),
    )


def _replica_line(told: Mapping[str, Any], request_id: object) -> str:
    """A line of a replica's ledger: it had the request as long as the client says, and ended it with OK."""
    arrived_ns = told.get("sent_ns", 0)
    queue_ns, service_ns = told.get("queue_ns", 0), told.get("service_ns", 1)
    values = {
        "request_id": request_id,
        "method": told.get("method", "AddVideo"),
        "peer": told.get("connection", "p"),
        "arrived_ns": arrived_ns,
        "done_ns": arrived_ns + queue_ns + service_ns,
        "queue_ns": queue_ns,
        "service_ns": service_ns,
        "in_flight": told.get("in_flight", 1),
        "messages": told.get("messages", 1),
        "code": "OK",
    }
    return ",".join(str(values[name]) for name in REPLICA_COLUMNS) + "\n"


def _envoy_line(told: Mapping[str, Any], request_id: object, upstream: str | None) -> str:
    """A line of Envoy's log: it had the request from the send to the answer."""
    sent_ns, done_ns = told.get("sent_ns", 0), told.get("done_ns", 0)
    return access_line(
        request_id=request_id,
        path=f"/video_service.VideoService/{told.get('method', 'AddVideo')}",
        start_unix_ns=sent_ns,
        duration_ms=(done_ns - sent_ns) // MS,
        upstream=upstream,
        http=200,
        grpc="OK",
        bytes_in=30,
        bytes_out=12,
    )


def _store(folder: Path, stem: str, rows: Sequence[dict[str, Any]], columns: dict[str, Any]) -> None:
    lines = [",".join(columns), *(",".join(str(row[name]) for name in columns) for row in rows)]
    (folder / f"{stem}.csv").write_text("\n".join(lines) + "\n")
    store_rows(folder / f"{stem}.csv", folder / f"{stem}.parquet", columns)
