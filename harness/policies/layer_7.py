"""LAYER_7: how Envoy picks a replica for each request, as an ALB does.

Options come first, then one entry a policy. Defaults of options are Envoy's own where nothing is said.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from harness.policies.policy import Policy, Traits, behind_envoy
from lb.policies import NoOptions, PolicyOptions, WeightedRoundRobinOptions

STICKY_HEADER = "x-lab-sticky"
MAX_RING_POINTS = 8_388_608  # Envoy's own limit
MAX_TABLE_SLOTS = 5_000_011  # Envoy's own limit

RequestKey = Literal["header", "cookie", "source_address"]
GroupName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,40}$")]
BoundedLoad = Annotated[int, Field(ge=100, le=100_000)]

KEY: RequestKey = Field(
    default="header",
    description="what is hashed: the header x-lab-session (a session's name), the cookie LABHASH (made by "
    "Envoy where there is none, for 60 s), or the client's address",
)
BOUNDED_LOAD = Field(
    default=None,
    description="a replica with more than this share of the mean of requests under way passes requests on "
    "to the next (default: no bound)",
)

SlowStart = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] | None
SLOW_START: SlowStart = Field(
    default=None,
    description="seconds in which a replica that joins or is healthy again comes to its full share "
    "(default: at once)",
)


class RoundRobinOptions(PolicyOptions):
    """Options of round_robin."""

    slow_start_s: SlowStart = SLOW_START


class LeastRequestOptions(PolicyOptions):
    """Options of least_request."""

    choices: int = Field(
        default=2, ge=2, le=100, description="replicas drawn at random, of which the least busy one is taken"
    )
    full_scan: bool = Field(default=False, description="look at all replicas instead of drawing some")
    slow_start_s: SlowStart = SLOW_START

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.full_scan and "choices" in self.model_fields_set:
            raise ValueError("choices changes nothing where full_scan is true; leave one of them out")
        return self


class HashOptions(PolicyOptions):
    """Options of every policy that hashes a key of the request."""

    key: RequestKey = KEY
    bounded_load_percent: BoundedLoad | None = BOUNDED_LOAD


class RingHashOptions(HashOptions):
    """Options of ring_hash."""

    min_ring_size: int = Field(
        default=1024, ge=1, le=MAX_RING_POINTS, description="points on the ring, all replicas together"
    )
    max_ring_size: int = Field(
        default=MAX_RING_POINTS, ge=1, le=MAX_RING_POINTS, description="points on the ring, at most"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_ring_size > self.max_ring_size:
            raise ValueError(
                f"min_ring_size {self.min_ring_size} is above max_ring_size {self.max_ring_size}; "
                "expected at most that"
            )
        return self


class MaglevOptions(HashOptions):
    """Options of maglev."""

    table_size: int = Field(
        default=65_537, ge=2, le=MAX_TABLE_SLOTS, description="slots of the table, a prime number"
    )

    @model_validator(mode="after")
    def _prime(self) -> Self:
        if not _is_prime(self.table_size):
            prime = next(number for number in range(self.table_size, 0, -1) if _is_prime(number))
            raise ValueError(f"table_size {self.table_size} is no prime number; the next below it is {prime}")
        return self


class StickyOptions(PolicyOptions):
    """Options of sticky."""

    by: Literal["cookie", "header"] = Field(
        default="cookie",
        description=f"what names the replica: the cookie LABALB or the header {STICKY_HEADER}",
    )
    strict: bool = Field(
        default=False,
        description="answer UNAVAILABLE when the session's replica is away, instead of picking another",
    )
    ttl_s: int = Field(
        default=86_400,
        ge=1,
        le=604_800,
        description="life of the cookie from when it was set (by cookie only; default a day, an ALB's)",
    )
    first_pick: Literal["round_robin", "random", "least_request"] = Field(
        default="round_robin", description="what picks a new session's replica"
    )
    keep_draining: bool = Field(
        default=False,
        description="a session stays on its replica while that drains, instead of moving at once",
    )

    @model_validator(mode="after")
    def _life_of_a_cookie(self) -> Self:
        if self.by == "header" and "ttl_s" in self.model_fields_set:
            raise ValueError("ttl_s changes nothing where by is 'header', which holds for ever; leave it out")
        return self


class WeightedOptions(PolicyOptions):
    """Options of weighted."""

    weights: list[Annotated[int, Field(ge=1, le=1_000_000)]] = Field(
        min_length=1, description="one weight a replica, in order; replica-0's is the first"
    )


class TargetGroup(PolicyOptions):
    """One target group: how many replicas, and its weight among the groups."""

    replicas: int = Field(ge=1, le=256, description="replicas in the group")
    weight: int = Field(ge=0, le=999, description="its share of the requests, over the sum of all weights")


class TargetGroupsOptions(PolicyOptions):
    """Options of target_groups."""

    groups: dict[GroupName, TargetGroup] = Field(
        min_length=1,
        max_length=5,
        description="name -> {replicas: how many, weight: 0 to 999}; replicas are dealt out in order",
    )
    sticky_by: Literal["none", "cookie", "header"] = Field(
        default="none",
        description="what keeps a session in its group: nothing, the cookie LABTG (for a day), "
        "or a hash of the header x-lab-session",
    )

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        if not any(group.weight for group in self.groups.values()):
            raise ValueError("groups: all weights are 0; expected one above 0")
        return self


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


ROUND_ROBIN, RANDOM, LEAST_REQUEST = (
    f"envoy.load_balancing_policies.{name}" for name in ("round_robin", "random", "least_request")
)
SESSION_FILTER = "envoy.filters.http.stateful_session"
FIRST_PICKS = {"round_robin": ROUND_ROBIN, "random": RANDOM, "least_request": LEAST_REQUEST}


def _plain(extension: str) -> Traits:
    return Traits(extensions=frozenset({extension}))


def _hash_traits(options: HashOptions, extension: str) -> Traits:
    return Traits(
        hash_key=options.key, sets_cookie=options.key == "cookie", extensions=frozenset({extension})
    )


def _sticky_traits(options: StickyOptions) -> Traits:
    return Traits(
        sets_cookie=options.by == "cookie",
        echo_header=STICKY_HEADER if options.by == "header" else None,
        extensions=frozenset({FIRST_PICKS[options.first_pick], SESSION_FILTER}),
    )


def _group_traits(options: TargetGroupsOptions) -> Traits:
    return Traits(
        hash_key="header" if options.sticky_by == "header" else None,
        sets_cookie=options.sticky_by == "cookie",
        groups={name: group.replicas for name, group in options.groups.items()},
        extensions=frozenset({ROUND_ROBIN}),
    )


def _weights_problem(options: WeightedOptions, replicas: int) -> str | None:
    if len(options.weights) == replicas:
        return None
    return f"weights: {len(options.weights)} for {replicas} replicas; expected one for each"


def _groups_problem(options: TargetGroupsOptions, replicas: int) -> str | None:
    dealt = sum(group.replicas for group in options.groups.values())
    if dealt == replicas:
        return None
    return f"groups: {dealt} replicas in all; expected {replicas}, as many as there are"


_BLUE_GREEN = {"blue": {"replicas": 3, "weight": 90}, "green": {"replicas": 1, "weight": 10}}

LAYER_7: dict[str, Policy[Any]] = {
    "round_robin": behind_envoy(
        "round_robin.yaml.j2",
        meaning="the replicas in turn, request by request",
        alb="round_robin, its default; an ALB is several nodes that each take turns alone, as proxy workers "
        "do; its slow start lasts 30 to 900 s",
        options=RoundRobinOptions,
        traits=lambda _: _plain(ROUND_ROBIN),
        examples=({}, {"slow_start_s": 0.5}),
    ),
    "least_request": behind_envoy(
        "least_request.yaml.j2",
        meaning="of a few replicas drawn at random, the one with the fewest requests under way",
        alb="least_outstanding_requests, which looks at all targets as full_scan does and has no slow start; "
        "Envoy otherwise draws two",
        options=LeastRequestOptions,
        traits=lambda _: _plain(LEAST_REQUEST),
        examples=({}, {"choices": 5}, {"full_scan": True, "slow_start_s": 30}),
    ),
    "random": behind_envoy(
        "random.yaml.j2",
        meaning="a replica drawn at random for each request",
        alb="weighted_random without its anomaly mitigation, which sends failing targets less",
        options=NoOptions,
        traits=lambda _: _plain(RANDOM),
    ),
    "ring_hash": behind_envoy(
        "ring_hash.yaml.j2",
        meaning="a hash of the request's key picks a place on a ring of replicas: one key, one replica",
        alb="none; stickiness without a balancer's cookie, and a new target takes over some old sessions",
        options=RingHashOptions,
        traits=lambda options: _hash_traits(options, "envoy.load_balancing_policies.ring_hash"),
        examples=(
            *({"key": key} for key in ("header", "cookie", "source_address")),
            {"min_ring_size": 64, "max_ring_size": 128, "bounded_load_percent": 125},
        ),
    ),
    "maglev": behind_envoy(
        "maglev.yaml.j2",
        meaning="a hash of the request's key picks a slot of a table that the replicas share evenly",
        alb="none; as ring_hash, with shares of the keys that are more even",
        options=MaglevOptions,
        traits=lambda options: _hash_traits(options, "envoy.load_balancing_policies.maglev"),
        examples=({}, {"key": "cookie", "table_size": 251, "bounded_load_percent": 100}),
    ),
    "sticky": behind_envoy(
        "sticky.yaml.j2",
        meaning="a cookie or a header from Envoy names the session's replica, which was picked once",
        alb="target group stickiness (AWSALB); not as there: the cookie is plain base64 that a client can "
        "forge, and its life does not slide; an ALB knows no header for it and is never strict; "
        "sessions leave a target that drains",
        options=StickyOptions,
        traits=_sticky_traits,
        examples=(
            *({}, {"by": "header", "strict": True}, {"strict": True, "ttl_s": 3}, {"keep_draining": True}),
            *({"first_pick": pick} for pick in ("random", "least_request")),
        ),
    ),
    "weighted": behind_envoy(
        "weighted.yaml.j2",
        meaning="the replicas in turn, each as often as its weight says",
        alb="none for single targets: an ALB has weights on target groups only",
        options=WeightedOptions,
        traits=lambda options: Traits(weights=tuple(options.weights), extensions=frozenset({ROUND_ROBIN})),
        replicas_problem=_weights_problem,
        examples=({"weights": [1, 2, 5, 5]},),
    ),
    "target_groups": behind_envoy(
        "target_groups.yaml.j2",
        meaning="a group drawn by weight for each request or each session, its replicas in turn",
        alb="a forward to weighted target groups, by cookie with their group stickiness (AWSALBTG); not as "
        "there: the cookie is the group's plain name, which a client can forge",
        options=TargetGroupsOptions,
        traits=_group_traits,
        replicas_problem=_groups_problem,
        examples=tuple({"groups": _BLUE_GREEN, "sticky_by": by} for by in ("none", "cookie", "header")),
    ),
    "client_side_weighted_round_robin": behind_envoy(
        "client_side_weighted_round_robin.yaml.j2",
        meaning="the replicas in turn, as often as rate / utilisation of their own load reports (ORCA) "
        "allows",
        alb="none: an ALB hears no load reports",
        options=WeightedRoundRobinOptions,
        traits=lambda _: Traits(
            load_reports=True,
            extensions=frozenset({"envoy.load_balancing_policies.client_side_weighted_round_robin"}),
        ),
        examples=({}, {"blackout_ms": 0, "weight_update_ms": 100.5}),
    ),
}
