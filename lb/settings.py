"""The settings of the clients of one arm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

MAX_PAYLOAD_BYTES = 2500  # size of the text fields of a video, without the id

Compression = Literal["none", "gzip", "deflate"]
SubsetBy = Literal["deterministic", "random"]


@dataclass(frozen=True)
class ClientSettings:
    """How clients make calls. All clients of an arm have the same settings.

    `target`: as lb.target has it, such as HOST:PORT. `service_config`: gRPC's, as JSON (lb.policies); None:
    gRPC's defaults, or what a control plane says. `cookie_jar`: sessions send cookies back.
    `await_first_answer`: the other calls of a session wait until its first call has ended.
    `messages_per_stream`: messages of each stream.
    `deadline_s`: of each call. `epoch_ns`: the instant (monotonic ns) from which rows count.
    `key_prefix`: start of the ids of added videos.
    `draw`: names the repeat. Replicas draw a request's service time from this name and the request's id, so
    it is the same in every arm; "": replicas draw in the order in which calls arrive.
    `connections`: channels of a client. It uses them in turn, call by call; each has its own TCP connections.
    `share_connections`: all clients of a process share the same connections instead.
    `session_lifetime_s`: after this time a client opens a new session; None: never. `lifetimes_vary`: that is
    the mean, and each session has a lifetime of its own (exponential), drawn from `draw` and the session.
    `echo_header`: a header of answers that the session's next calls send back.
    `own_source_address`: each client sends its own address in x-forwarded-for.
    `compression`: of requests. `keepalive_ms`: gRPC sends a PING after this time without data; None: never.
    `message_gap_ms`: message k of a stream is planned k gaps after the stream's start.
    `await_each_answer`: a call waits until the client's call before it has ended.
    `subset_size`: to how many of the target's addresses a client connects, see lb.subsets; 0: to all.
    `subset_by`: how its subset is chosen.
    `hedge_after_ms`: time without an answer after which the next attempt goes to another address, see
    lb.hedging; None: never. `hedge_attempts`: most attempts of a call. With hedging a client has a channel
    for each of the target's addresses, and takes them in turn.
    `pick`: the policy by which the client itself picks the replica of each call (lb.policies: `by_lab`), with
    its `pick_options`; "": gRPC picks. It needs a channel for each of the target's addresses, too.
    `dns_interval_ms`: minimum time between two queries of gRPC's DNS resolver; None: gRPC's default, 30 s.
    `reconnect_backoff_ms`: longest wait before gRPC connects again, at least 100; None: gRPC's default, 1 s
    and 1.6 times more after each failure, up to 120 s.
    `payload_bytes`: length of the text in an AddVideo, at most MAX_PAYLOAD_BYTES; 0: a few words.
    `tls`: calls are encrypted. Channels then never share a connection, even with share_connections, because
    gRPC Python creates new credentials for each channel.
    `ca_certificates`: certificates to trust, as PEM text; None: gRPC's list of public authorities.
    `trace_prefix`: begins the ids by which a load balancer's log names the requests: lb.trace_id; "": none.
    `service`: "/package.Service/Method", the method of a service that is not the lab's; "": the lab's own.
    `service_streams`: it answers with a stream. `service_requests`: serialised requests in base64. Client k
    sends those of row k modulo the number of rows, in turn. `replica_key`: of an answer's metadata, initial
    or trailing, that names the replica; "": nothing does.
    `headers`: name -> value of headers that every call has besides.
    """

    target: str
    service_config: str | None
    cookie_jar: bool
    await_first_answer: bool
    messages_per_stream: int
    deadline_s: float
    epoch_ns: int
    key_prefix: str = "load"
    draw: str = ""
    connections: int = 1
    share_connections: bool = False
    session_lifetime_s: float | None = None
    lifetimes_vary: bool = False
    echo_header: str | None = None
    own_source_address: bool = False
    compression: Compression = "none"
    keepalive_ms: float | None = None
    message_gap_ms: float = 0
    await_each_answer: bool = False
    subset_size: int = 0
    subset_by: SubsetBy = "deterministic"
    hedge_after_ms: float | None = None
    hedge_attempts: int = 2
    pick: str = ""
    pick_options: Mapping[str, object] = field(default_factory=dict)
    dns_interval_ms: float | None = None
    reconnect_backoff_ms: float | None = None
    payload_bytes: int = 0
    tls: bool = False
    ca_certificates: str | None = None
    trace_prefix: str = ""
    service: str = ""
    service_streams: bool = False
    service_requests: Sequence[Sequence[str]] = field(default_factory=list)
    replica_key: str = "x-lab-replica"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def channel_targets(self) -> list[str]:
        """The target of each channel of a client."""
        if self.hedge_after_ms is None and not self.pick:
            return [self.target] * self.connections
        return self.target.split(",")
