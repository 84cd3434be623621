"""POLICIES: the client-side policies, gRPC's with their service configs, and those of the lab's own clients.

Sources: the gRPC service config (`loadBalancingConfig`, `methodConfig`) and gRFCs A42 (ring hash), A58
(weighted round robin), A62 (pick first), A76 (request hash header). Tests on C-core 1.85 confirmed what it
supports. With a config that names no policy known to C-core, every call ends with INVALID_ARGUMENT.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

REQUEST_HASH_HEADER = "x-lab-session"
HEALTH_SERVICE = "video_service.VideoService"
RING_SIZE_CAP = 4096  # C-core silently reduces larger rings to this (grpc.lb.ring_hash.ring_size_cap)
MAX_ATTEMPTS = 5  # C-core silently reduces larger numbers to this
# With a first backoff of 1 ms, 41 and 52 of 300 calls hung until their deadline: nearly all that needed a
# retry (a known bug, grpc/grpc#41036). With 2 ms or more none of 2,000 did. C-core refuses less than 1 ms.
MIN_BACKOFF_MS = 5
SURPLUS = 1.0  # of probes, Prequal's delta: how much a pool grows if all are used as often as they may be
BACKOFF_MULTIPLIER = 2
MAX_BACKOFF_FACTOR = 10  # longest backoff / first backoff, as in Envoy

Config = dict[str, object]


class PolicyOptions(BaseModel):
    """Options of a policy. Unknown fields and values of another type are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class NoOptions(PolicyOptions):
    """Options of a policy that has none."""


class PickFirstOptions(PolicyOptions):
    """Options of pick_first."""

    shuffle: bool = Field(
        default=False,
        description="whether each client tries the addresses in its own random order (default false)",
    )


class WeightedRoundRobinOptions(PolicyOptions):
    """Options of weighted_round_robin (gRFC A58); the defaults are gRPC's."""

    blackout_ms: float = Field(
        default=10_000,
        ge=0,
        le=600_000,
        description="time during which a new replica's load reports are ignored (default 10000)",
    )
    weight_update_ms: float = Field(
        default=1000,
        ge=100,
        le=600_000,
        description="time between two computations of the weights (default 1000)",
    )
    weight_expiration_s: float = Field(
        default=180,
        gt=0,
        le=86_400,
        description="how long a weight is used without a new report (default 180)",
    )


class RingHashOptions(PolicyOptions):
    """Options of ring_hash (gRFC A42). The header x-lab-session is the key."""

    min_ring_size: int = Field(
        default=1024,
        ge=1,
        le=RING_SIZE_CAP,
        description="minimum number of points on the ring (default 1024)",
    )
    max_ring_size: int = Field(
        default=RING_SIZE_CAP,
        ge=1,
        le=RING_SIZE_CAP,
        description="maximum number of points on the ring (default 4096)",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        low, high = self.min_ring_size, self.max_ring_size
        if low > high:
            raise ValueError(f"min_ring_size {low} is above max_ring_size {high}; expected at most that")
        return self


class LeastRequestOptions(PolicyOptions):
    """Options of least_request."""

    choices: int = Field(
        default=2,
        ge=2,
        le=100,
        description="number of replicas drawn at random; the least busy one is taken (default 2)",
    )


class ProbingOptions(PolicyOptions):
    """Options of probing: see lb.probing. The defaults are those of the Prequal paper."""

    probes_per_request: float = Field(
        default=3,
        gt=0,
        le=20,
        description="probes that each request causes, to replicas drawn at random (default 3)",
    )
    removed_per_request: float = Field(
        default=1,
        ge=0,
        le=20,
        description="answers that each request removes from the pool: the oldest and the worst in turn "
        "(default 1)",
    )
    pool_size: int = Field(
        default=16,
        ge=1,
        le=1000,
        description="maximum number of answers that a client keeps; it keeps those of half of the replicas "
        "at most (default 16)",
    )
    max_age_ms: float = Field(
        default=1000, gt=0, le=600_000, description="age at which an answer is dropped (default 1000)"
    )
    hot_quantile: float = Field(
        default=0.84,
        ge=0,
        le=1,
        description="a replica with more requests in flight than this quantile of the recent answers is hot; "
        "1: none is, so that latency alone decides (default 0.84)",
    )

    def kept_of(self, replicas: int) -> int:
        """Return how many answers a client of so many replicas keeps at most."""
        return max(1, min(self.pool_size, replicas // 2))

    def uses_of_an_answer(self, replicas: int) -> float:
        """Return how many requests may use one answer: the paper's b_reuse. At least 1.

        It keeps the pool filled: a request takes one use and removes some answers, and its probes bring
        answers, of which a share is of replicas that the pool knows already.
        """
        kept = self.kept_of(replicas)
        gained = (1 - kept / replicas) * self.probes_per_request - self.removed_per_request
        return max(1.0, (1 + SURPLUS) / gained) if gained > 0 else float(kept + 1)


@dataclass(frozen=True)
class ClientPolicy:
    """One client-side policy."""

    grpc_name: str  # its name in C-core, or of the policy of each channel where the lab's clients pick
    meaning: str  # what it does
    alb: str  # its equivalent in an AWS ALB, and how it differs
    options: type[PolicyOptions] = NoOptions  # the model of its options
    config: Callable[[Any], Config] = lambda _options: {}  # options -> its entry in the service config
    hashes_header: bool = False  # it hashes the header x-lab-session
    load_reports: bool = False  # every replica must send load reports
    health_checks: bool = True  # it uses the results of the client's health checks
    by_lab: bool = False  # the lab's own clients pick, over a channel to each replica: lb.picking
    probes: bool = False  # every replica must answer probes


THROTTLE_TOKENS = 10
MAX_BUDGET_PERCENT = 100


@dataclass(frozen=True)
class ClientRetries:
    """Retries made by gRPC. Raises ValueError outside the bounds.

    The budget becomes gRPC's retryThrottling (gRFC A6): a channel starts with THROTTLE_TOKENS tokens, a
    failure takes one, a success adds budget_percent / 100. gRPC retries while more than half are left.
    """

    attempts: int  # of one call, the first included, 2 to 5
    on: tuple[str, ...] = ("UNAVAILABLE",)  # names of the gRPC codes that are retried
    backoff_ms: float = 10  # wait before the first retry, 5 or more
    budget_percent: float | None = None  # retries allowed, in percent of successful calls; None: no limit

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
        "connects to the first address that answers, and sends every call there (gRPC's default)",
        "none. An NLB does the same to one client: one target for the life of its connection",
        PickFirstOptions,
        lambda options: {"shuffleAddressList": options.shuffle},
        health_checks=False,
    ),
    "round_robin": ClientPolicy(
        "round_robin",
        "connects to every address and takes them in turn, call by call",
        "round_robin, but every client takes turns on its own, without a target group's health checks",
    ),
    "weighted_round_robin": ClientPolicy(
        "weighted_round_robin",
        "takes the addresses in turn, each as often as its load reports (ORCA) allow: rate / utilisation",
        "none: an ALB does not read load reports. Its weights are fixed numbers of target groups",
        WeightedRoundRobinOptions,
        _weighted,
        load_reports=True,
    ),
    "ring_hash": ClientPolicy(
        "ring_hash_experimental",
        "hashes the header x-lab-session to a place on a ring of addresses: one session, one replica",
        "none. It is like stickiness without a cookie, but a new target takes over some old sessions",
        RingHashOptions,
        _ring,
        hashes_header=True,
    ),
    "least_request": ClientPolicy(
        "pick_first",
        "draws a few replicas at random and takes the one with the fewest requests of this client in flight",
        "least_outstanding_requests, but every client sees only its own requests",
        LeastRequestOptions,
        health_checks=False,
        by_lab=True,
    ),
    "probing": ClientPolicy(
        "pick_first",
        "asks replicas for their requests in flight and their latency beforehand, and takes the quickest one "
        "that has not far more in flight than the others (Prequal)",
        "none: an ALB asks its targets for their health, not for their load",
        ProbingOptions,
        health_checks=False,
        by_lab=True,
        probes=True,
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
    """Return the JSON for the channel argument `grpc.service_config`.

    `policy`: a name of POLICIES. `options`: its options by name. `health_check`: watch each replica's health
    service; pick_first ignores it. `wait_for_ready`: calls wait for a connection instead of failing.
    Raises KeyError for an unknown policy, ValidationError (a ValueError) for bad options.
    """
    entry = POLICIES[policy]
    chosen = entry.options.model_validate(dict(options or {}))
    config: Config = {"loadBalancingConfig": [{entry.grpc_name: entry.config(chosen)}]}
    if health_check:
        config["healthCheckConfig"] = {"serviceName": HEALTH_SERVICE}
    method: Config = {"waitForReady": True} if wait_for_ready else {}
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
        "maxBackoff": _duration(first_s * MAX_BACKOFF_FACTOR),
        "backoffMultiplier": BACKOFF_MULTIPLIER,
        "retryableStatusCodes": list(retries.on),
    }


def _duration(seconds: float) -> str:
    # The JSON form of a protobuf Duration has at most nine decimals and no exponent.
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"
