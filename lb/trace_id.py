"""Names the requests of a cell for the access log of a load balancer that is not the lab's.

A request has one id of 32 hexadecimal digits: 16 of its cell (the prefix), then 16 of its request id. It goes
out in two headers. An ALB keeps X-Amzn-Trace-Id with the fields that a client has put there, and logs it
("Request tracing for your Application Load Balancer" in AWS's user guide). Envoy keeps and logs x-request-id,
if it does not take the client for one at the edge (`use_remote_address`).
"""

import secrets

PREFIX_DIGITS = 16
# Envoy may write its tracing decision in this digit, where a random UUID has its version.
VERSION_DIGIT = 12


def new_prefix(unix_ns: int) -> str:
    """Return a prefix that no other cell has: the time in seconds, as in AWS's ids, and random digits."""
    digits = f"{unix_ns // 1_000_000_000:08x}{secrets.token_hex(4)}"
    return f"{digits[:VERSION_DIGIT]}4{digits[VERSION_DIGIT + 1 :]}"


def trace_headers(prefix: str, request_id: int) -> tuple[tuple[str, str], ...]:
    """Return the two headers of a request. `lab` has the request id for people who search the log."""
    number = f"{request_id:016x}"
    root = f"1-{prefix[:8]}-{prefix[8:]}{number}"
    uuid = f"{prefix[:8]}-{prefix[8:12]}-{prefix[12:]}-{number[:4]}-{number[4:]}"
    return ("x-amzn-trace-id", f"Root={root};lab={request_id}"), ("x-request-id", uuid)
