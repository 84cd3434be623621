"""Envoy's access log of requests: its fields, the format that Envoy is given, and its rows as a table.

Envoy writes one line a request, as text with a separator. As JSON the same fields take more than twice the
space, and reading ten million rows takes many times the memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.fields import PROXY
from harness.record.tables import Columns, column_types, whole_lines

if TYPE_CHECKING:
    import polars as pl

ACCESS_LOG = "access.log"  # of requests, on route envoy
CONNECTION_LOG = "access.jsonl"  # of connections, on route envoy-l4: JSON, and no ledger

NODE = "proxy"  # the column that names the node, in the ledger of a proxy that has several

# No value has it or a line end: Envoy resets a stream whose headers have a control character (RFC 9113,
# section 8.2.1, and RFC 9110, section 5.5), and writes none itself.
SEPARATOR = "\x1f"


class _Field(NamedTuple):
    """A field. operator: a command operator of Envoy's access logs, see the documentation of Envoy 1.40."""

    kind: type[int] | type[str]
    operator: str


# Any caller may send any text as its id. A number of 64 bits has at most 20 characters.
_FIELDS = {
    "request_id": _Field(str, "%REQ(X-LAB-REQUEST-ID):20%"),
    "path": _Field(str, "%REQ(:PATH)%"),
    "start_unix_ns": _Field(int, "%START_TIME(%s%9f)%"),
    "duration_ms": _Field(int, "%DURATION%"),
    # From the request's first byte to the answer's last. None where the answer was cut off.
    "duration_us": _Field(int, "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%"),
    "http": _Field(int, "%RESPONSE_CODE%"),
    "grpc": _Field(str, "%GRPC_STATUS(SNAKE_STRING)%"),
    "details": _Field(str, "%RESPONSE_CODE_DETAILS%"),
    "flags": _Field(str, "%RESPONSE_FLAGS%"),
    "cluster": _Field(str, "%UPSTREAM_CLUSTER%"),
    "upstream": _Field(str, "%UPSTREAM_HOST%"),
    "attempts": _Field(int, "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
    "bytes_in": _Field(int, "%BYTES_RECEIVED%"),  # of the messages, without headers
    "bytes_out": _Field(int, "%BYTES_SENT%"),
    "connection": _Field(int, "%CONNECTION_ID%"),
    "upstream_connection": _Field(int, "%UPSTREAM_CONNECTION_ID%"),
}
_LOGGED: Columns = {name: field.kind for name, field in _FIELDS.items()}

PROXY_COLUMNS: Columns = {name: int if name == "request_id" else kind for name, kind in _LOGGED.items()}


def log_name(node: str, *, of_requests: bool = True) -> str:
    """Return the name of the log that a node of the proxy writes, of requests or of connections."""
    name = ACCESS_LOG if of_requests else CONNECTION_LOG
    return name if node == PROXY else name.replace(".", f".{node}.", 1)


def log_format() -> dict[str, object]:
    """Return the `log_format` of Envoy's access log of requests. A missing value is an empty text."""
    line = SEPARATOR.join(field.operator for field in _FIELDS.values())
    return {"text_format_source": {"inline_string": f"{line}\n"}, "omit_empty_values": True}


def json_log_format() -> dict[str, object]:
    """Return the `log_format` of a log with the same fields as JSON objects, for other programs."""
    return {"json_format": {name: field.operator for name, field in _FIELDS.items()}}


def scan_access_log(log: Path | bytes) -> pl.LazyFrame:
    """Return PROXY_COLUMNS of the lines of a log, or of its content, that Envoy has written to their ends.

    request_id: null for a call that the lab did not send. upstream: "host:port", or null. grpc: null where
    the proxy gave no gRPC status. duration_us: null where the answer was not sent to its end. An error of
    polars when the lines are read means that this is no such log.
    """
    import polars as pl

    types, lines = column_types(_LOGGED), whole_lines(log)
    if lines == 0:
        return pl.LazyFrame(schema=column_types(PROXY_COLUMNS))
    rows = pl.scan_csv(
        log,
        schema=types,
        has_header=False,
        separator=SEPARATOR,
        quote_char=None,
        encoding="utf8-lossy",  # a caller may send any bytes
        n_rows=lines,
        glob=False,
    )
    return rows.with_columns(pl.col("request_id").cast(pl.Int64, strict=False)).select(*PROXY_COLUMNS)
