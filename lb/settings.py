"""How the clients of one arm call."""

from dataclasses import dataclass
from typing import Literal

MAX_PAYLOAD_BYTES = 2500  # what the text fields of a video can hold besides its id

Compression = Literal["none", "gzip", "deflate"]


@dataclass(frozen=True)
class ClientSettings:
    """How clients call: alike for all clients of an arm. Instants count from `epoch_ns` (monotonic).

    `target`: HOST:PORT, or several, comma separated. `service_config`: gRPC's, as JSON (lb.policies); None
    for gRPC's defaults. `connections`: channels of a client, taken in turn call by call, each with TCP
    connections of its own; `share_connections`: instead, all clients of a process are on the same ones.
    `session_lifetime_s`: how long a session lasts before its client opens the next; None for ever.
    `echo_header`: a header that an answer brings and that the session's next calls carry back.
    `own_source_address`: every client names an address of its own in x-forwarded-for.
    `await_each_answer`: a call planned while the client's last one is under way waits for its end.
    `dns_interval_ms`: least time between two questions of gRPC's DNS resolver; None: gRPC's own, 30 s.
    `reconnect_backoff_ms`: longest wait before a connection that broke is tried again, 100 at least; None:
    gRPC's own, 1 s and 1.6 times more after each failure, to 120 s.
    `message_gap_ms`: message k of a stream is planned k gaps after the stream's start. `payload_bytes`: text
    in an AddVideo instead of its usual few words, at most MAX_PAYLOAD_BYTES. `tls`: calls are encrypted, and
    no two channels share a connection, share_connections or not: gRPC Python makes credentials anew for each.
    `authority`: PEM text of the certificates to trust, None for gRPC's own list of public ones.
    """

    target: str
    service_config: str | None
    cookie_jar: bool
    await_first_answer: bool
    messages_per_stream: int
    deadline_s: float
    epoch_ns: int
    key_prefix: str = "load"
    connections: int = 1
    share_connections: bool = False
    session_lifetime_s: float | None = None
    echo_header: str | None = None
    own_source_address: bool = False
    compression: Compression = "none"
    keepalive_ms: float | None = None
    message_gap_ms: float = 0
    await_each_answer: bool = False
    dns_interval_ms: float | None = None
    reconnect_backoff_ms: float | None = None
    payload_bytes: int = 0
    tls: bool = False
    authority: str | None = None
