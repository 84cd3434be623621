"""The part `arms` of an experiment file: ways to balance, and what else one arm may have of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from harness.events.keys import MAX_EVENTS
from harness.events.schedule import Event
from harness.fields import (
    Calls,
    Clients,
    Code,
    Deadline,
    Gap,
    Lifetime,
    Messages,
    Model,
    Rate,
    Route,
    Skew,
)
from harness.spec.proxy_settings import CircuitBreaker as CircuitBreaker
from harness.spec.proxy_settings import OutlierDetection as OutlierDetection
from harness.spec.proxy_settings import ProxyHealthCheck as ProxyHealthCheck
from services.settings import ReplicaSettings, Server

Connections = Literal["own", "shared"] | Annotated[int, Field(ge=1, le=100)]
SweptValue = int | Annotated[float, Field(allow_inf_nan=False)]

# What an arm may say of the workload, for itself alone.
OWN_WORKLOAD = (
    *("clients", "rate_per_s", "skew", "calls", "messages_per_stream", "message_gap_ms", "deadline_ms"),
)


class Retries(Model):
    """Who tries a failed call again, how often, and after which answers."""

    by: Literal["client", "proxy"] = Field(
        description="client: gRPC's retry policy; proxy: Envoy's, on another replica where there is one"
    )
    attempts: int = Field(ge=2, le=5, description="attempts in all, the first included (gRPC's limit is 5)")
    on: list[Code] = Field(
        default=["UNAVAILABLE"],
        min_length=1,
        description="status codes after which to try again (default UNAVAILABLE); only answers without "
        "response headers are tried again",
    )
    backoff_ms: float = Field(
        default=10.0, gt=0, le=10_000, allow_inf_nan=False, description="first wait before a retry"
    )
    attempt_timeout_ms: float | None = Field(
        default=None,
        gt=0,
        le=3_600_000,
        allow_inf_nan=False,
        description="time after which an attempt is given up and the next is made, by proxy with "
        "on: [UNAVAILABLE]; gRPC clients have no such limit (default: none)",
    )
    budget_percent: float | None = Field(
        default=None,
        gt=0,
        le=100,
        allow_inf_nan=False,
        description="retries at most, in percent of the requests under way (proxy: Envoy's retry budget), or "
        "of the calls that succeed (client: gRPC's retryThrottling) (default: no limit)",
    )


class Arm(Model):
    """One way to balance: a route and a policy. The arms of an experiment best differ in one thing."""

    route: Route = Field(
        description="envoy: through the proxy, which picks a replica for each request; envoy-l4: through "
        "the proxy, which picks one for each connection; direct: the client picks"
    )
    policy: str = Field(
        description="how the replica is picked; which policies there are depends on the route"
    )
    options: dict[str, Any] = Field(default={}, description="the policy's own options")
    proxy_workers: int = Field(
        default=1, ge=1, le=64, description="worker threads of the proxy (default 1), each balancing alone"
    )
    connections: Connections = Field(
        default="own",
        description="own (default): one connection a client; shared: all clients on one; a number: each "
        "client has that many and takes them in turn, call by call",
    )
    cookie_jar: bool = Field(
        default=True,
        description="whether clients send the proxy's cookies back (default true); "
        "false is only for policies that set a cookie",
    )
    await_each_answer: bool = Field(
        default=False,
        description="whether a client sends on only after its last answer, as most generators work (default "
        "false); planned times stay, so that it falls behind its plan",
    )
    await_first_answer: bool = Field(
        default=True,
        description="whether a session's first call is answered before its next is sent (default true)",
    )
    session_lifetime_s: Lifetime | None = Field(
        default=None,
        description="seconds after which a client begins a new session, its cookies forgotten "
        "(default: never)",
    )
    source_addresses: Literal["one", "own"] = Field(
        default="one",
        description="one (default): all clients have one source address; own: each names its own in "
        "x-forwarded-for",
    )
    retries: Retries | None = Field(default=None, description="retries (default: none)")
    wait_for_ready: bool = Field(
        default=False,
        description="whether calls wait for a connection instead of failing at once (default false)",
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
        description="discovery dns: least time between two questions (default: gRPC's 30000)",
    )
    compression: Literal["none", "gzip", "deflate"] = Field(
        default="none", description="of the clients' messages (default none)"
    )
    keepalive_ms: float | None = Field(
        default=None,
        ge=1000,
        le=3_600_000,
        allow_inf_nan=False,
        description="silence after which the clients send an HTTP/2 PING (default: none are sent); "
        "gRPC's C-core sends one a second at most",
    )
    reconnect_backoff_ms: float | None = Field(
        default=None,
        ge=100,
        le=3_600_000,
        allow_inf_nan=False,
        description="longest wait of a client between two tries to connect (default: gRPC's, 1 s, then 1.6 "
        "times as long after each failure, up to 120 s)",
    )
    max_connection_age_s: Lifetime | None = Field(
        default=None,
        description="age at which clients' connections are closed: by Envoy on route envoy, else by the "
        "replicas (default: none)",
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
        description="below this share of healthy replicas the proxy sends to all of them (default 1: when "
        "none is, as an ALB fails open; Envoy's own is 50; 0: never)",
    )
    circuit_breaker: CircuitBreaker | None = Field(
        default=None, description="how much the proxy lets through (default: no limit); route envoy"
    )
    server: Server = Field(
        default="asyncio",
        description=f"how replicas are built: {ReplicaSettings.model_fields['server'].description}",
    )
    events: list[Event] | None = Field(
        default=None,
        max_length=MAX_EVENTS,
        description="what changes in this arm while it is measured (default: what changes in all)",
    )
    clients: Clients | None = Field(default=None, description="clients of this arm (default: the workload's)")
    rate_per_s: Rate | None = Field(
        default=None, description="requests per second of this arm (default: the workload's)"
    )
    skew: Skew | None = Field(default=None, description="skew of this arm (default: the workload's)")
    calls: Calls | None = Field(default=None, description="mix of RPCs of this arm (default: the workload's)")
    messages_per_stream: Messages | None = Field(
        default=None, description="messages in a streaming call of this arm (default: the workload's)"
    )
    message_gap_ms: Gap | None = Field(
        default=None, description="pace of a stream's messages in this arm (default: the workload's)"
    )
    deadline_ms: Deadline | None = Field(
        default=None, description="deadline of a call in this arm (default: the workload's)"
    )
    sweep: dict[str, list[SweptValue]] | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description="one numeric key of an arm (or options.KEY) and its values: one arm for each of them, "
        "named <arm>_<value>",
    )

    @property
    def replica_connection_age_ms(self) -> int | None:
        """When the replicas end a connection: only where the clients' own connections reach them."""
        if self.max_connection_age_s is None or self.route == "envoy":
            return None
        return round(self.max_connection_age_s * 1000)


OPTIONS_PREFIX = "options."

# Numeric keys of an arm: what a plot can have on its horizontal axis.
FACTORS = (
    *("clients", "rate_per_s", "skew", "messages_per_stream", "message_gap_ms", "deadline_ms"),
    *("proxy_workers", "connections", "session_lifetime_s", "keepalive_ms", "max_connection_age_s"),
)


@dataclass(frozen=True)
class Variant:
    """One arm as it is run. base: the arm of the file; factor, value: what is swept there, else None."""

    name: str
    arm: Arm
    base: str
    factor: str | None = None
    value: int | float | None = None


def variants_of(arms: Mapping[str, Arm]) -> dict[str, Variant]:
    """Every arm as it is run, by name, in the order of the file.

    Raises pydantic's ValidationError where a swept value is none that the factor can have.
    """
    return {variant.name: variant for name, arm in arms.items() for variant in variants_of_arm(name, arm)}


def variants_of_arm(name: str, arm: Arm) -> list[Variant]:
    """The variants of one arm; itself where it sweeps nothing."""
    if not arm.sweep:
        return [Variant(name, arm, name)]
    ((factor, values),) = arm.sweep.items()
    return [
        Variant(variant_name(name, value), _with(arm, factor, value), name, factor, value) for value in values
    ]


def variant_name(arm: str, value: int | float) -> str:
    """`sticky`, 12 -> "sticky_12"; 0.5 -> "sticky_0_5"."""
    return f"{arm}_{value:g}".replace(".", "_").replace("-", "_").replace("+", "")


def _with(arm: Arm, factor: str, value: int | float) -> Arm:
    tree: dict[str, Any] = arm.model_dump(exclude={"sweep"}, exclude_unset=True)
    if factor.startswith(OPTIONS_PREFIX):
        tree["options"] = {**arm.options, factor.removeprefix(OPTIONS_PREFIX): value}
    else:
        tree[factor] = value
    return Arm.model_validate(tree)
