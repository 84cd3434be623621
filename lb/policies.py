"""POLICIES: how a gRPC client picks a replica by itself, as gRPC service configs.

Sources: the gRPC service config (`loadBalancingConfig`, `methodConfig`) and gRFCs A42 (ring hash), A58
(weighted round robin), A62 (pick first), A76 (request hash header); what C-core 1.85 has of them was tried.
A config without a policy that C-core knows leaves the channel dead: INVALID_ARGUMENT on every call.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

REQUEST_HASH_HEADER = "x-lab-session"
HEALTH_SERVICE = "video_service.VideoService"
RING_SIZE_CAP = 4096  # C-core cuts larger rings down without a word (grpc.lb.ring_hash.ring_size_cap)
MAX_ATTEMPTS = 5  # C-core cuts more down to this without a word
# With a first wait of 1 ms C-core let 41 and 52 of 300 calls hang until their deadline, nearly all that had
# to be retried (a known bug, grpc/grpc#41036). From 2 ms on none of 2,000; below 1 ms it refuses the config.
MIN_BACKOFF_MS = 5
BACKOFF_GROWTH = 2
MAX_BACKOFFS = 10  # the longest wait, in first waits, as in Envoy

Config = dict[str, object]


class PolicyOptions(BaseModel):
    """The options of one policy: exactly the fields named, each of its own type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class NoOptions(PolicyOptions):
    """A policy that has nothing to choose."""


class PickFirstOptions(PolicyOptions):
    """Options of pick_first."""

    shuffle: bool = Field(
        default=False,
        description="each client tries the addresses in an order of its own (default false)",
    )


class WeightedRoundRobinOptions(PolicyOptions):
    """Options of weighted_round_robin (gRFC A58); the defaults are gRPC's."""

    blackout_ms: float = Field(
        default=10_000,
        ge=0,
        le=600_000,
        description="how long a replica's first load reports do not count (default 10000)",
    )
    weight_update_ms: float = Field(
        default=1000, ge=100, le=600_000, description="how often the weights are computed anew (default 1000)"
    )
    weight_expiration_s: float = Field(
        default=180, gt=0, le=86_400, description="how long a weight holds without a new report (default 180)"
    )


class RingHashOptions(PolicyOptions):
    """Options of ring_hash (gRFC A42). The request's key is the header x-lab-session."""

    min_ring_size: int = Field(
        default=1024, ge=1, le=RING_SIZE_CAP, description="points on the ring, at least (default 1024)"
    )
    max_ring_size: int = Field(
        default=RING_SIZE_CAP,
        ge=1,
        le=RING_SIZE_CAP,
        description="points on the ring, at most (default 4096)",
    )

    @model_validator(mode="after")
    def _in_order(self) -> "RingHashOptions":
        if self.min_ring_size > self.max_ring_size:
            raise ValueError(
                f"min_ring_size {self.min_ring_size} is above max_ring_size {self.max_ring_size}; "
                "expected at most that"
            )
        return self


@dataclass(frozen=True)
class ClientPolicy:
    """One client-side policy.

    `grpc_name`: as C-core knows it; `meaning`: what it does; `alb`: what it is in ALB terms, and where it is
    not an ALB; `options`: the model of its options; `config`: options -> its entry in the service config.
    """

    grpc_name: str
    meaning: str
    alb: str
    options: type[PolicyOptions] = NoOptions
    config: Callable[[Any], Config] = field(default=lambda _options: {})


THROTTLE_TOKENS = 10
MAX_BUDGET_PERCENT = 100


@dataclass(frozen=True)
class ClientRetries:
    """gRPC's retries: `attempts` in all, 2 to 5; `on`: gRPC code names; `backoff_ms`: the first wait, from 5.

    `budget_percent`: retries in percent of the calls that succeed, by gRPC's retryThrottling (A6): a channel
    holds THROTTLE_TOKENS tokens, a failure takes one, a success gives budget_percent / 100, and with half of
    them or less nothing is tried again. None: no limit.
    Raises ValueError outside these bounds.
    """

    attempts: int
    on: tuple[str, ...] = ("UNAVAILABLE",)
    backoff_ms: float = 10
    budget_percent: float | None = None

    def __post_init__(self) -> None:
        if self.budget_percent is not None and not 0 < self.budget_percent <= MAX_BUDGET_PERCENT:
            raise ValueError(f"budget_percent is {self.budget_percent:g}, expected above 0, to 100")
        if not 2 <= self.attempts <= MAX_ATTEMPTS:
            raise ValueError(f"attempts is {self.attempts}, expected 2 to {MAX_ATTEMPTS}")
        if self.backoff_ms < MIN_BACKOFF_MS:
            raise ValueError(f"backoff_ms is {self.backoff_ms:g}, expected {MIN_BACKOFF_MS} or more")


def _weighted(options: WeightedRoundRobinOptions) -> Config:
    return {
        "blackoutPeriod": _duration(options.blackout_ms / 1000),
        "weightUpdatePeriod": _duration(options.weight_update_ms / 1000),
        "weightExpirationPeriod": _duration(options.weight_expiration_s),
    }


def _ring(options: RingHashOptions) -> Config:
    return {
        "minRingSize": options.min_ring_size,
        "maxRingSize": options.max_ring_size,
        "requestHashHeader": REQUEST_HASH_HEADER,
    }


POLICIES: dict[str, ClientPolicy] = {
    "pick_first": ClientPolicy(
        "pick_first",
        "connect to the first address that answers and send every call there (gRPC's default)",
        "what an NLB does to one client: one target for a connection's life; an ALB never does this",
        PickFirstOptions,
        lambda options: {"shuffleAddressList": options.shuffle},
    ),
    "round_robin": ClientPolicy(
        "round_robin",
        "connect to every address and take them in turn, call by call",
        "round_robin, but every client takes turns of its own and no target group's health checks are heard",
    ),
    "weighted_round_robin": ClientPolicy(
        "weighted_round_robin",
        "take addresses in turn, as often as rate / utilisation of their own load reports (ORCA) allows",
        "none: an ALB hears no load reports; its target weights are fixed numbers of a target group",
        WeightedRoundRobinOptions,
        _weighted,
    ),
    "ring_hash": ClientPolicy(
        "ring_hash_experimental",
        "hash the header x-lab-session onto a ring of addresses: one session, one replica",
        "stickiness without a cookie: the key picks the target, so a new target takes over old sessions",
        RingHashOptions,
        _ring,
    ),
}


def service_config(
    policy: str,
    options: Mapping[str, object] | None = None,
    *,
    health_check: bool = False,
    wait_for_ready: bool = False,
    retries: ClientRetries | None = None,
) -> str:
    """The JSON for the channel argument `grpc.service_config`.

    `policy`: a name of POLICIES; `options`: its options by name; `health_check`: ask each replica's health
    service (pick_first does not listen to it); `wait_for_ready`: wait for a connection instead of failing.
    Raises KeyError for an unknown policy, ValueError (pydantic's) for options that it does not take.
    """
    entry = POLICIES[policy]
    chosen = entry.options.model_validate(dict(options or {}))
    config: Config = {"loadBalancingConfig": [{entry.grpc_name: entry.config(chosen)}]}
    if health_check:
        config["healthCheckConfig"] = {"serviceName": HEALTH_SERVICE}
    method: Config = {}
    if wait_for_ready:
        method["waitForReady"] = True
    if retries is not None:
        method["retryPolicy"] = _retry_policy(retries)
        if retries.budget_percent is not None:
            ratio = retries.budget_percent / 100
            config["retryThrottling"] = {"maxTokens": THROTTLE_TOKENS, "tokenRatio": ratio}
    if method:
        config["methodConfig"] = [{"name": [{}], **method}]
    return json.dumps(config)


def _retry_policy(retries: ClientRetries) -> Config:
    first_s = retries.backoff_ms / 1000
    return {
        "maxAttempts": retries.attempts,
        "initialBackoff": _duration(first_s),
        "maxBackoff": _duration(first_s * MAX_BACKOFFS),
        "backoffMultiplier": BACKOFF_GROWTH,
        "retryableStatusCodes": list(retries.on),
    }


def _duration(seconds: float) -> str:
    # Protobuf's JSON form of a Duration: at most nine decimals, no exponent.
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"
