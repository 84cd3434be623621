"""The part `replicas` of an experiment file: the servers that are balanced, alike or not."""

from typing import Annotated, Any, Literal

from pydantic import Field

from harness.fields import Code, Model, ReplicaName, Share, Slots, SlowFactor

Utilisation = Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]
LoadReport = Literal["measured"] | Utilisation


class ServiceTime(Model):
    """How long one request occupies one slot of a replica."""

    distribution: Literal["constant", "exponential", "lognormal"] = Field(
        description="shape of the service time; drawn anew for every request from a seeded generator"
    )
    mean: float = Field(gt=0, le=60_000, allow_inf_nan=False, description="mean service time, milliseconds")
    burn_cpu: bool = Field(
        default=False, description="burn CPU for the service time instead of sleeping (default false)"
    )


class Outage(Model):
    """A replica that is away again and again, as a server in a crash loop is."""

    every_s: float = Field(
        ge=0.1, le=3600, allow_inf_nan=False, description="seconds from one outage to the next"
    )
    for_ms: float = Field(
        gt=0, le=60_000, allow_inf_nan=False, description="milliseconds without port and connections"
    )


class SessionCache(Model):
    """What a replica remembers of its sessions, and what that saves."""

    sessions: int = Field(
        ge=1, le=1_000_000, description="sessions that one replica remembers; the oldest used one goes first"
    )
    hit_factor: float = Field(
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="service time of a request whose session is remembered / of one whose is not",
    )


class ReplicaOverrides(Model):
    """In what one replica differs from the others; what is left out is as in all of them."""

    slots: Slots | None = Field(default=None, description="requests that it works on at once")
    slow_factor: SlowFactor | None = Field(default=None, description="multiplies its service times")
    slow_share: Share | None = Field(default=None, description="share of its calls that slow_factor is for")
    fail_share: Share | None = Field(default=None, description="share of its calls that fail")
    fail_code: Code | None = Field(default=None, description="gRPC status that they fail with")
    orca: LoadReport | None = Field(default=None, description="its load reports: measured, or a fixed figure")


class Replicas(Model):
    """The servers that are balanced."""

    count: int = Field(ge=1, le=256, description="number of replicas")
    slots: Slots = Field(
        description="requests that one replica works on at once; the rest wait in line (FIFO)"
    )
    service_time_ms: ServiceTime = Field(description="service time of one request, milliseconds")
    slow_factor: SlowFactor = Field(default=1.0, description="multiplies every service time (default 1)")
    slow_share: Share = Field(
        default=1.0, description="share of the calls that slow_factor applies to (default 1: all)"
    )
    fail_share: Share = Field(
        default=0.0, description="share of the calls that fail at once, before response headers (default 0)"
    )
    fail_code: Code = Field(default="UNAVAILABLE", description="gRPC status of those (default UNAVAILABLE)")
    outage: Outage | None = Field(default=None, description="how the replicas go away and come back, if so")
    cache: SessionCache | None = Field(default=None, description="a cache per session, if there is one")
    orca: LoadReport | None = Field(
        default=None,
        description="ORCA load reports in trailing metadata: measured, or a fixed CPU utilisation; "
        "none (default): no reports",
    )
    different: dict[ReplicaName, ReplicaOverrides] = Field(
        default={}, max_length=256, description="replicas unlike the others, by name (replica-0 is the first)"
    )

    @property
    def names(self) -> list[str]:
        """replica-0, replica-1, ..."""
        return [f"replica-{number}" for number in range(self.count)]

    def traits(self, name: str) -> dict[str, Any]:
        """Slots, slow_factor, slow_share, fail_share, fail_code and orca of one replica."""
        own = self.different.get(name, ReplicaOverrides())
        return {
            field: getattr(self, field) if (value := getattr(own, field)) is None else value
            for field in ReplicaOverrides.model_fields
        }
