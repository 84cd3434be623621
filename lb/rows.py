"""The columns of the client's ledger: one row for each RPC, and one row for each message of a stream.

Column name -> Python type. Instants (`*_ns`) are nanoseconds from the cell's epoch on the monotonic clock.
results/README.md explains every column.
"""

from collections.abc import Mapping
from typing import Any

# request_id = client * REQUEST_IDS_PER_CLIENT + number of the request in the client's plan, warm-up first.
# So a request has the same id in every arm of a repeat. How many calls the warm-up of a closed loop makes
# depends on the answers; there the measured requests are numbered from CLOSED_LOOP_MEASURED.
REQUEST_IDS_PER_CLIENT = 1_000_000_000
CLOSED_LOOP_MEASURED = 500_000_000

STREAM_METHODS = ("ListVideos", "GetVideos", "GetVideo")

REQUEST_COLUMNS: dict[str, type[int] | type[str]] = {
    "request_id": int,
    "client": int,
    "session": int,
    "method": str,
    "planned_ns": int,
    "ready_ns": int,
    "sent_ns": int,
    "done_ns": int,
    "code": str,
    "replica": str,
    "queue_ns": int,
    "service_ns": int,
    "in_flight": int,
    "messages": int,
    "connection": str,
    "cache": str,
}


def answer_columns(
    code: str, messages: int, initial: Mapping[str, Any], trailing: Mapping[str, Any], replica_key: str
) -> tuple[int | str, ...]:
    """Return the columns from `code` on, of a call that has ended.

    initial, trailing: the metadata of its answer. messages: how many came on a stream. replica_key: the
    metadata that names the replica; "": none does.
    """
    replica = str(initial.get(replica_key) or trailing.get(replica_key, "")) if replica_key else ""
    return (
        code,
        replica,
        int(trailing.get("x-lab-queue-ns", 0)),
        int(trailing.get("x-lab-service-ns", 0)),
        int(trailing.get("x-lab-in-flight", 0)),
        messages or int(code == "OK"),
        initial.get("x-lab-connection", ""),
        trailing.get("x-lab-cache", ""),
    )


MESSAGE_COLUMNS: dict[str, type[int] | type[str]] = {
    "request_id": int,
    "message": int,
    "planned_ns": int,
    "sent_ns": int,
    "received_ns": int,
    "replica": str,
}
