"""The columns of the client's ledger: one row for each RPC, and one row for each message of a stream.

Column name -> Python type. Instants (`*_ns`) are nanoseconds from the cell's epoch on the monotonic clock.
results/README.md explains every column.
"""

REQUEST_IDS_PER_CLIENT = 1_000_000_000  # request_id = client * this + number of the client's request

REQUEST_COLUMNS: dict[str, type[int] | type[str]] = {
    "request_id": int,
    "client": int,
    "session": int,
    "method": str,
    "planned_ns": int,
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

MESSAGE_COLUMNS: dict[str, type[int] | type[str]] = {
    "request_id": int,
    "message": int,
    "planned_ns": int,
    "sent_ns": int,
    "received_ns": int,
    "replica": str,
}
