"""The keys of an arm about the proxy: health checks, outlier detection, circuit breaker, retries."""

from typing import Literal

from pydantic import Field

from harness.fields import Model

HealthCheckKind = Literal["grpc", "code_12", "tcp", "none"]

# gRPC code -> Envoy's names for it in `retry_on`. Envoy cannot retry after other codes. A caller also sees
# UNAVAILABLE when the replica is away or drops the connection. Envoy calls that `reset`: no answer at all.
RETRY_ON = {
    "CANCELLED": "cancelled",
    "DEADLINE_EXCEEDED": "deadline-exceeded",
    "INTERNAL": "internal",
    "RESOURCE_EXHAUSTED": "resource-exhausted",
    "UNAVAILABLE": "unavailable,reset",
}


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
    interval_ms: int = Field(
        default=10_000,
        ge=10,
        le=300_000,
        description="time between two checks of the ejections (default 10000)",
    )
    ejection_ms: int = Field(
        default=30_000,
        ge=10,
        le=3_600_000,
        description="duration of the first ejection; each further one is longer (default 30000)",
    )
    max_ejection_percent: int = Field(
        default=10,
        ge=0,
        le=100,
        description="maximum share of the replicas that are ejected at once (default 10, Envoy's)",
    )


class CircuitBreaker(Model):
    """The proxy's limit on active requests to all replicas together."""

    max_requests: int = Field(
        ge=1,
        le=1_000_000,
        description="maximum of active requests, for each target group; the proxy refuses more with "
        "UNAVAILABLE",
    )
