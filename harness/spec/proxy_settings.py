"""Parts of an arm that are the proxy's: how it finds out who is well, and when it refuses."""

from typing import Literal

from pydantic import Field

from harness.fields import Model

HealthCheckKind = Literal["grpc", "code_12", "tcp", "none"]

# What Envoy can try again: gRPC's code -> names for its `retry_on`. A caller sees UNAVAILABLE also when the
# replica is away or drops the connection; Envoy has a name of its own for that (reset: no answer at all).
RETRY_ON = {
    "CANCELLED": "cancelled",
    "DEADLINE_EXCEEDED": "deadline-exceeded",
    "INTERNAL": "internal",
    "RESOURCE_EXHAUSTED": "resource-exhausted",
    "UNAVAILABLE": "unavailable,reset",
}


class ProxyHealthCheck(Model):
    """How the proxy asks its replicas whether they are well (active health checks)."""

    kind: HealthCheckKind | None = Field(
        default=None,
        description="grpc (default on route envoy): the standard health service must say SERVING; code_12: "
        "an ALB's default for gRPC, any server that answers UNIMPLEMENTED is well; tcp (default, and only "
        "choice besides none, on envoy-l4): the port takes connections; none: nobody is asked",
    )
    interval_ms: int = Field(
        default=1000, ge=20, le=300_000, description="from one check to the next (default 1000)"
    )
    timeout_ms: int = Field(
        default=1000, ge=10, le=120_000, description="when a check without answer has failed (default 1000)"
    )
    unhealthy_after: int = Field(
        default=2,
        ge=1,
        le=10,
        description="checks without an answer in a row that make a replica unhealthy (default 2); one "
        "that says NOT_SERVING is at once",
    )
    healthy_after: int = Field(
        default=5, ge=1, le=10, description="passed checks in a row that make it healthy again (default 5)"
    )


class OutlierDetection(Model):
    """When the proxy puts a replica out because of how it answers (passive health checks)."""

    consecutive_errors: int = Field(
        default=5, ge=1, le=1000, description="errors in a row that eject a replica (default 5, Envoy's)"
    )
    interval_ms: int = Field(
        default=10_000, ge=10, le=300_000, description="how often ejections are looked at (default 10000)"
    )
    ejection_ms: int = Field(
        default=30_000,
        ge=10,
        le=3_600_000,
        description="first time out, longer with every further one (default 30000)",
    )
    max_ejection_percent: int = Field(
        default=10,
        ge=0,
        le=100,
        description="share of the replicas that may be out at once; more never are (default 10, Envoy's)",
    )


class CircuitBreaker(Model):
    """How much the proxy lets through to all replicas together."""

    max_requests: int = Field(
        ge=1,
        le=1_000_000,
        description="requests under way at once, of each target group; more are refused with UNAVAILABLE",
    )
