"""The key `arms` of an experiment file: ways to balance, and the other keys that an arm may have."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from harness.events.keys import MAX_EVENTS
from harness.events.schedule import Event
from harness.fields import (
    PROXIED,
    Calls,
    Clients,
    Code,
    Deadline,
    EjectedPercent,
    EjectionTime,
    Gap,
    Lifetime,
    LookInterval,
    Messages,
    Model,
    Route,
    Skew,
)
from harness.spec.rate import RateOverTime
from lb.settings import SubsetBy
from services.settings import ReplicaSettings, Server, Shedding

# Streams that a connection to the proxy may have at once on route envoy: an ALB's limit.
MAX_STREAMS = 128
MAX_PROXIES = 16  # nodes of a proxy

HealthCheckKind = Literal["grpc", "code_12", "tcp", "none"]
Connections = Literal["own", "shared"] | Annotated[int, Field(ge=1, le=100)]
CertificateKey = Literal["ecdsa", "rsa"]
CrossZone = bool | Literal["spill_over", "zone_aware"]
ZoneName = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,20}$")]
Zones = Annotated[dict[ZoneName, Annotated[int, Field(ge=1, le=256)]], Field(max_length=MAX_PROXIES)]
SweptValue = int | Annotated[float, Field(allow_inf_nan=False)]

# Keys of the workload that an arm may have of its own.
OWN_WORKLOAD = (
    *("clients", "rate_per_s", "skew", "calls", "messages_per_stream", "message_gap_ms", "deadline_ms"),
)


# gRPC code -> Envoy's names for it in `retry_on`. Envoy cannot retry after other codes. A caller also sees
# UNAVAILABLE when the replica is away or drops the connection. Envoy calls that `reset`: no answer at all.
RETRY_ON = {
    "CANCELLED": "cancelled",
    "DEADLINE_EXCEEDED": "deadline-exceeded",
    "INTERNAL": "internal",
    "RESOURCE_EXHAUSTED": "resource-exhausted",
    "UNAVAILABLE": "unavailable,reset",
}


class Retries(Model):
    """Retries of failed calls: who makes them, how many, and after which answers."""

    by: Literal["client", "proxy"] = Field(
        description="client: gRPC's retry policy; proxy: Envoy's, on another replica if there is one"
    )
    attempts: int = Field(ge=2, le=5, description="attempts in all, the first included (gRPC's limit is 5)")
    on: list[Code] = Field(
        default=["UNAVAILABLE"],
        min_length=1,
        description="status codes that cause a retry (default UNAVAILABLE); only answers without response "
        "headers are retried",
    )
    backoff_ms: float = Field(
        default=10.0, gt=0, le=10_000, allow_inf_nan=False, description="wait before the first retry"
    )
    attempt_timeout_ms: float | None = Field(
        default=None,
        gt=0,
        le=3_600_000,
        allow_inf_nan=False,
        description="time after which the proxy ends an attempt and makes the next one; only with by: proxy "
        "and on: [UNAVAILABLE], because gRPC clients have no such limit (default: none)",
    )
    budget_percent: float | None = Field(
        default=None,
        gt=0,
        le=100,
        allow_inf_nan=False,
        description="maximum of the retries, in percent of the active requests (proxy: Envoy's retry budget) "
        "or of the calls that succeed (client: gRPC's retryThrottling) (default: no limit)",
    )


class Hedging(Model):
    """A second attempt where the first takes long: made by the lab's own clients, see lb.hedging."""

    after_ms: float = Field(
        ge=0,
        le=3_600_000,
        allow_inf_nan=False,
        description="time without an answer after which a client makes the next attempt, at another replica; "
        "if an attempt fails, the next one follows at once",
    )
    attempts: int = Field(
        default=2, ge=2, le=5, description="attempts in all, the first included (default 2)"
    )


class ProxyHealthCheck(Model):
    """The proxy's active health checks."""

    kind: HealthCheckKind | None = Field(
        default=None,
        description="grpc (default on route envoy): the standard health service must say SERVING; code_12: "
        "an ALB's default for gRPC, a server that answers UNIMPLEMENTED is healthy; tcp (default on "
        "envoy-l4, which has only tcp and none): the port must accept connections; none: no health checks",
    )
    interval_ms: int = Field(
        default=1000, ge=20, le=300_000, description="time between two checks (default 1000)"
    )
    timeout_ms: int = Field(
        default=1000,
        ge=10,
        le=120_000,
        description="time after which a check without answer has failed (default 1000)",
    )
    unhealthy_after: int = Field(
        default=2,
        ge=1,
        le=10,
        description="successive checks without answer that make a replica unhealthy (default 2); the answer "
        "NOT_SERVING makes it unhealthy at once",
    )
    healthy_after: int = Field(
        default=5, ge=1, le=10, description="successive passed checks that make it healthy again (default 5)"
    )


class OutlierDetection(Model):
    """The proxy's passive health checks: it ejects a replica that answers with errors."""

    consecutive_errors: int = Field(
        default=5, ge=1, le=1000, description="successive errors that eject a replica (default 5, Envoy's)"
    )
    interval_ms: LookInterval = Field(
        default=10_000, description="time between two checks of the ejections (default 10000)"
    )
    ejection_ms: EjectionTime = 30_000
    max_ejection_percent: EjectedPercent = Field(
        default=10,
        description="maximum share of the replicas that are ejected at once (default 10, Envoy's)",
    )


class Subsetting(Model):
    """Each client connects to some of the replicas only."""

    size: int = Field(ge=1, le=256, description="number of replicas that a client connects to")
    by: SubsetBy = Field(
        default="deterministic",
        description="deterministic (default): clients are dealt out so that all replicas have equally many; "
        "random: each client draws its replicas",
    )


class CircuitBreaker(Model):
    """The proxy's limit on active requests to all replicas together."""

    max_requests: int = Field(
        ge=1,
        le=1_000_000,
        description="maximum of active requests, for each target group; the proxy refuses more with "
        "UNAVAILABLE",
    )


class AdaptiveConcurrency(Model):
    """The proxy's limit on requests in flight, which it finds itself (Envoy's gradient controller)."""

    update_interval_ms: int = Field(
        default=100,
        ge=10,
        le=60_000,
        description="time between two computations of the limit (default 100)",
    )
    buffer_percent: float = Field(
        default=25,
        gt=0,
        le=100,
        allow_inf_nan=False,
        description="by how much latency may exceed its minimum before the limit falls (default 25, Envoy's)",
    )
    min_latency_interval_s: float = Field(
        default=60,
        ge=0.1,
        le=3600,
        allow_inf_nan=False,
        description="time between two measurements of the minimum latency (default 60)",
    )
    min_latency_requests: int = Field(
        default=50,
        ge=1,
        le=100_000,
        description="requests of which the minimum latency is taken (default 50, Envoy's)",
    )
    min_concurrency: int = Field(
        default=3,
        ge=1,
        le=100_000,
        description="requests in flight while the minimum latency is measured; the proxy refuses the others "
        "(default 3, Envoy's)",
    )
    max_concurrency: int = Field(
        default=1000, ge=1, le=1_000_000, description="the highest limit (default 1000, Envoy's)"
    )


class AdmissionControl(Model):
    """The proxy refuses a part of the requests while too few of them succeed (client-side throttling)."""

    window_s: int = Field(
        default=30, ge=1, le=3600, description="seconds over which success is counted (default 30, Envoy's)"
    )
    success_percent: float = Field(
        default=95,
        ge=1,
        le=100,
        allow_inf_nan=False,
        description="share of successes below which requests are refused (default 95, Envoy's)",
    )
    aggression: float = Field(
        default=1,
        ge=1,
        le=100,
        allow_inf_nan=False,
        description="a higher one refuses more: the exponent is 1 / aggression (default 1, Envoy's)",
    )
    max_refused_percent: float = Field(
        default=80,
        gt=0,
        le=100,
        allow_inf_nan=False,
        description="maximum share of requests that are refused (default 80, Envoy's)",
    )


class Arm(Model):
    """One way to balance: a route and a policy. The arms of an experiment should differ in one thing."""

    route: Route = Field(
        description="envoy: through the proxy, which picks a replica for each request; envoy-l4: through "
        "the proxy, which picks one for each connection; direct: the client picks; xds: the client picks, as "
        "a control plane tells it"
    )
    policy: str = Field(description="how a replica is picked; each route has its own policies")
    options: dict[str, Any] = Field(default={}, description="the policy's own options")
    proxy_workers: int = Field(
        default=1, ge=1, le=64, description="worker threads of the proxy (default 1); each balances alone"
    )
    proxies: int = Field(
        default=1,
        ge=1,
        le=MAX_PROXIES,
        description="nodes of the proxy (default 1), each an Envoy with this configuration; clients find "
        "several by one name, as they find an ALB's nodes; each node balances alone",
    )
    proxy_use: Literal["stay", "spread"] = Field(
        default="stay",
        description="how a client uses several nodes; stay (default): it connects to one that chance picks; "
        " spread: it connects to all and takes them in turn, call by call",
    )
    zones: Zones = Field(
        default={},
        description="zone -> its number of replicas (default: no zones); the first replicas are in the first "
        "zone. The proxy's nodes are dealt out to the zones in turn",
    )
    cross_zone: CrossZone = Field(
        default=True,
        description="whether a node sends to the replicas of all zones (default true); false: only to those "
        "of its own zone; spill_over: to its own zone first. The other zones get what the healthy replicas "
        "of its own cannot carry: with h of n healthy these keep the share 1.4 h / n, at most 1; zone_aware: "
        "a zone keeps its requests if its share of the healthy replicas is at least its share of the nodes. "
        "Otherwise it keeps replicas' share / nodes' share of them, and the rest goes to zones with room",
    )
    connections: Connections = Field(
        default="own",
        description="own (default): one connection per client; shared: all clients use one connection; a "
        "number: each client has that many connections and uses them in turn, one call each",
    )
    cookie_jar: bool = Field(
        default=True,
        description="whether clients send the proxy's cookies back (default true); "
        "false needs a policy that sets a cookie",
    )
    await_each_answer: bool = Field(
        default=False,
        description="whether a client sends its next request only after its last answer, as most load "
        "generators do (default false); the planned times stay, so the client falls behind its plan",
    )
    await_first_answer: bool = Field(
        default=True,
        description="whether a client waits for the answer to a session's first call before it sends the "
        "next one (default true)",
    )
    session_lifetime_s: Lifetime | None = Field(
        default=None,
        description="seconds after which a client begins a new session and drops its cookies "
        "(default: never)",
    )
    session_lifetimes: Literal["constant", "exponential"] = Field(
        default="constant",
        description="constant (default): all sessions last session_lifetime_s, and those that opened "
        "together end together; exponential: that is the mean, and each session's own time is drawn, the "
        "same in every arm",
    )
    source_addresses: Literal["one", "own"] = Field(
        default="one",
        description="one (default): all clients have one source address; own: each client sends an address "
        "of its own in x-forwarded-for",
    )
    retries: Retries | None = Field(default=None, description="retries (default: none)")
    hedging: Hedging | None = Field(
        default=None,
        description="hedged requests (default: none); route direct with policy round_robin, AddVideo alone",
    )
    wait_for_ready: bool = Field(
        default=False,
        description="whether calls wait for a connection; otherwise they fail at once (default false)",
    )
    health_check: bool = Field(
        default=False, description="gRPC client-side health checking (default false); route direct only"
    )
    discovery: Literal["addresses", "dns"] = Field(
        default="addresses",
        description="how clients learn of replicas, route direct: addresses (default): a fixed list; dns: "
        "gRPC's resolver asks a name server that knows the endpoints; it asks again when a connection ends",
    )
    dns_interval_ms: int | None = Field(
        default=None,
        ge=0,
        le=3_600_000,
        description="discovery dns: minimum time between two DNS queries (default: gRPC's 30000)",
    )
    subsetting: Subsetting | None = Field(
        default=None,
        description="each client connects to some of the replicas only (default: to all); route direct",
    )
    tls: CertificateKey | None = Field(
        default=None,
        description="clients call the proxy over TLS, with a new certificate whose key is of this kind: "
        "ecdsa (P-256) or rsa (2048 bits) (default: clear text)",
    )
    compression: Literal["none", "gzip", "deflate"] = Field(
        default="none", description="compression of the clients' messages (default none)"
    )
    keepalive_ms: float | None = Field(
        default=None,
        ge=1000,
        le=3_600_000,
        allow_inf_nan=False,
        description="time without data after which a client sends an HTTP/2 PING (default: no PINGs); "
        "gRPC's C-core sends at most one per second",
    )
    reconnect_backoff_ms: float | None = Field(
        default=None,
        ge=100,
        le=3_600_000,
        allow_inf_nan=False,
        description="maximum wait of a client between two attempts to connect (default: gRPC's, 1 s, then "
        "1.6 times as long after each failure, up to 120 s)",
    )
    max_connection_age_s: Lifetime | None = Field(
        default=None,
        description="age at which the clients' connections are closed, by Envoy on route envoy, otherwise by "
        "the replicas (default: none)",
    )
    idle_timeout_s: float | None = Field(
        default=None,
        ge=0.05,
        le=86_400,
        allow_inf_nan=False,
        description="idle time after which the proxy closes connections and, on route envoy, ends streams "
        "(default: an ALB's 60, an NLB's 350 on envoy-l4)",
    )
    proxy_health_check: ProxyHealthCheck | None = Field(
        default=None, description="the proxy's active health checks (default: gRPC's or TCP, every second)"
    )
    outlier_detection: OutlierDetection | None = Field(
        default=None, description="the proxy's passive health checks (default: none); route envoy"
    )
    panic_threshold_percent: int | None = Field(
        default=None,
        ge=0,
        le=100,
        description="the proxy sends to all replicas when the share of healthy ones is below this (default "
        "1: when no replica is healthy, as an ALB fails open; Envoy's default is 50; 0: never)",
    )
    circuit_breaker: CircuitBreaker | None = Field(
        default=None, description="the proxy's limit on active requests (default: no limit); route envoy"
    )
    adaptive_concurrency: AdaptiveConcurrency | None = Field(
        default=None,
        description="the proxy's limit on active requests, which follows the latency (default: none); route "
        "envoy",
    )
    admission_control: AdmissionControl | None = Field(
        default=None,
        description="the proxy refuses requests while too many fail (default: none); route envoy",
    )
    shedding: Shedding | None = Field(
        default=None, description=ReplicaSettings.model_fields["shedding"].description
    )
    server: Server = Field(
        default="asyncio",
        description=f"how replicas are built: {ReplicaSettings.model_fields['server'].description}",
    )
    events: list[Event] | None = Field(
        default=None,
        max_length=MAX_EVENTS,
        description="events of this arm (default: the experiment's)",
    )
    clients: Clients | None = Field(default=None, description="clients of this arm (default: the workload's)")
    rate_per_s: RateOverTime | None = Field(
        default=None, description="requests per second of this arm (default: the workload's)"
    )
    skew: Skew | None = Field(default=None, description="skew of this arm (default: the workload's)")
    calls: Calls | None = Field(default=None, description="mix of RPCs of this arm (default: the workload's)")
    messages_per_stream: Messages | None = Field(
        default=None, description="messages in a streaming call of this arm (default: the workload's)"
    )
    message_gap_ms: Gap | None = Field(
        default=None, description="time between a stream's messages in this arm (default: the workload's)"
    )
    deadline_ms: Deadline | None = Field(
        default=None, description="deadline of a call in this arm (default: the workload's)"
    )
    sweep: dict[str, list[SweptValue]] | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description="one numeric key of an arm (or options.KEY) and its values; each value makes one arm, "
        "named <arm>_<value>",
    )

    @property
    def has_proxy(self) -> bool:
        """Whether calls go through a proxy."""
        return self.route in PROXIED

    @property
    def node_policy(self) -> tuple[str, dict[str, Any]] | None:
        """The policy of gRPC, with its options, by which clients use several nodes; None: there is one."""
        if self.proxies == 1:
            return None
        return ("round_robin", {}) if self.proxy_use == "spread" else ("pick_first", {"shuffle": True})

    @property
    def max_attempts(self) -> int:
        """Attempts of one request at most."""
        again = self.retries or self.hedging
        return 1 if again is None else again.attempts

    @property
    def replica_connection_age_ms(self) -> int | None:
        """Age (ms) at which the replicas close a connection; None where clients do not connect to them."""
        if self.max_connection_age_s is None or self.route == "envoy":
            return None
        return round(self.max_connection_age_s * 1000)


OPTIONS_PREFIX = "options."

# Numeric keys of an arm: these can be swept, and stand on the horizontal axis of a plot.
FACTORS = (
    *("clients", "rate_per_s", "skew", "messages_per_stream", "message_gap_ms", "deadline_ms"),
    *(
        "proxy_workers",
        "proxies",
        "connections",
        "session_lifetime_s",
        "keepalive_ms",
        "max_connection_age_s",
    ),
)


@dataclass(frozen=True)
class Variant:
    """One arm as it is run. base: the arm's name in the file. factor, value: of a sweep, else None."""

    name: str
    arm: Arm
    base: str
    factor: str | None = None
    value: int | float | None = None


def variants_of(arms: Mapping[str, Arm]) -> dict[str, Variant]:
    """Return every arm as it is run, by name, in the order of the file.

    Raises pydantic's ValidationError for a value that the swept factor cannot have.
    """
    return {variant.name: variant for name, arm in arms.items() for variant in variants_of_arm(name, arm)}


def variants_of_arm(name: str, arm: Arm) -> list[Variant]:
    """Return the variants of one arm; only the arm itself if it sweeps nothing."""
    if not arm.sweep:
        return [Variant(name, arm, name)]
    ((factor, values),) = arm.sweep.items()
    return [
        Variant(variant_name(name, value), _with(arm, factor, value), name, factor, value) for value in values
    ]


def variant_name(arm: str, value: int | float) -> str:
    """Return the name of a variant: ("sticky", 12) -> "sticky_12", ("sticky", 0.5) -> "sticky_0_5"."""
    return f"{arm}_{value:g}".replace(".", "_").replace("-", "_").replace("+", "")


def _with(arm: Arm, factor: str, value: int | float) -> Arm:
    tree: dict[str, Any] = arm.model_dump(exclude={"sweep"}, exclude_unset=True)
    if factor.startswith(OPTIONS_PREFIX):
        tree["options"] = {**arm.options, factor.removeprefix(OPTIONS_PREFIX): value}
    else:
        tree[factor] = value
    return Arm.model_validate(tree)
