"""The part `events` of an experiment file: what changes while the load goes on, and when."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from harness.fields import Code, Model, ReplicaName, SlowFactor

FleetShare = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Target = Literal["any", "most_loaded", "all"] | ReplicaName | FleetShare
EventName = Literal[
    "kill",
    "stop",
    "pause",
    "resume",
    "start",
    "slow",
    "fail",
    "heal",
    "not_serving",
    "serving",
    "drain",
    "remove",
    "add",
    "weight",
    "roll",
    "proxy_restart",
    "proxy_drain",
    "partition",
    "rejoin",
    "limit_cpu",
    "unlimit_cpu",
]
ACTIONS: tuple[EventName, ...] = get_args(EventName)
MIN_AT_S = 0.2
MAX_EVENTS = 50
# What only an engine of containers can do to a replica.
NEED_CONTAINERS: tuple[EventName, ...] = ("partition", "rejoin", "limit_cpu", "unlimit_cpu")


class Event(Model):
    """One change at a planned time."""

    at_s: float = Field(
        ge=MIN_AT_S, le=3600, allow_inf_nan=False, description="seconds from the start of measuring"
    )
    do: EventName = Field(
        description="kill: SIGKILL; stop: graceful end; pause, resume: SIGSTOP, SIGCONT; start: one that was "
        "killed or stopped, at its address; slow: other service times; fail: a share of the calls fails; "
        "heal: both as at the start; "
        "not_serving, serving: what its health service says; drain: DRAINING, after delay_s removed and "
        "stopped; remove: out of the endpoints, its process goes on; add: one that was removed, or without a "
        "target new ones; weight: of its endpoint; roll: one after another drained, stopped, started, waited "
        "for; proxy_restart: the proxy ends and starts anew; proxy_drain: it drains for delay_s first; "
        "in containers only: partition, rejoin: off the network and back; limit_cpu: to so many cores; "
        "unlimit_cpu: as at the start"
    )
    target: Target | None = Field(
        default=None,
        description="a replica's name; any (drawn by the seed); most_loaded (has had most calls, asked when "
        "it happens); all; or a share of the fleet, as 0.5 (the first ones)",
    )
    for_s: float | None = Field(
        default=None,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="seconds after which the opposite happens, as an event of its own (default: never)",
    )
    factor: SlowFactor | None = Field(
        default=None, description="slow: multiplies the service times; 1 is as ever"
    )
    share: FleetShare | None = Field(default=None, description="fail: share of the calls (default 1: all)")
    code: Code | None = Field(default=None, description="fail: gRPC status (default UNAVAILABLE)")
    after_headers: bool = Field(
        default=False, description="fail: only after response headers, where no retry and no ejection see it"
    )
    after_work: bool = Field(
        default=False, description="fail: only after the service time, slowly; else at once"
    )
    delay_s: float | None = Field(
        default=None,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="drain, roll, proxy_drain: seconds between draining and the end (deregistration delay); "
        "stop: seconds that calls in hand may take (default 1)",
    )
    weight: int | None = Field(default=None, ge=1, le=1000, description="weight: of the endpoint")
    cores: float | None = Field(
        default=None, ge=0.01, le=64, allow_inf_nan=False, description="limit_cpu: CPU cores it may use"
    )
    count: int | None = Field(default=None, ge=1, le=32, description="add: how many new ones (default 1)")
