"""Cells of a handful of rows, written by hand."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.record import Cell, store_rows
from harness.tables import REPLICA_COLUMNS
from lb.rows import REQUEST_COLUMNS

REPLICAS = {"replica-0": "127.0.0.1:4000", "replica-1": "127.0.0.1:4001"}
MS = 1_000_000


def row(request_id: int, replica: str, **more: Any) -> dict[str, Any]:
    """One request of client 0, planned at 0, sent 1 ms and done 3 ms later."""
    common = {"client": request_id // 10**9, "session": 0, "method": "AddVideo", "code": "OK"}
    times = {"planned_ns": 0, "sent_ns": MS, "done_ns": 3 * MS, "queue_ns": 0, "service_ns": MS}
    rest = {"in_flight": 1, "messages": 1, "connection": "c"}
    return {"request_id": request_id, "replica": replica, **common, **times, **rest, **more}


def write_cell(
    folder: Path,
    rows: Sequence[dict[str, Any]],
    *,
    envoy: Sequence[tuple[object, str | None]] | None = None,
    replica: Sequence[tuple[int, str]] | None = None,
    route: str = "envoy",
    **info: Any,
) -> Cell:
    """A completed cell of one second. envoy: (request id, upstream); replica: (request id, replica).

    Ledgers that are not given agree with `rows`.
    """
    answered = [(entry["request_id"], entry["replica"]) for entry in rows if entry["replica"]]
    if envoy is None:
        envoy = [(request_id, REPLICAS.get(name)) for request_id, name in answered]
    if replica is None:
        replica = answered
    lines = [",".join(REQUEST_COLUMNS), *(",".join(str(r[name]) for name in REQUEST_COLUMNS) for r in rows)]
    (folder / "requests.csv").write_text("\n".join(lines) + "\n")
    store_rows(folder / "requests.csv", folder / "requests.parquet", REQUEST_COLUMNS)
    for name in REPLICAS:
        own = [f"{request_id},AddVideo,p,0,1,0,1,1,1,OK\n" for request_id, at in replica if at == name]
        (folder / f"{name}.csv").write_text(",".join(REPLICA_COLUMNS) + "\n" + "".join(own))
    if route == "envoy":
        log = [{"request_id": None if i is None else str(i), "grpc": "OK", "upstream": up} for i, up in envoy]
        (folder / "access.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    base = {"arm": "a", "repeat": 1, "status": "completed", "route": route, "replicas": REPLICAS}
    window = {"measure_start_ns": 0, "measure_end_ns": 1000 * MS, "planned_requests": len(rows)}
    return Cell(folder, {**base, **window, "planned_rate_per_s": 10.0, **info})
