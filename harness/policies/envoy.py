"""LAYER_7 and LAYER_4: the policies by which Envoy picks a replica for each request, and for each connection.

First come the options, then one entry for each policy. If an option has no default here, Envoy's own applies.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from harness.policies.policy import Policy, Traits
from lb import policies as client
from lb.policies import NoOptions, PolicyOptions

STICKY_HEADER = "x-lab-sticky"
STICKY_COOKIE, HASH_COOKIE, GROUP_COOKIE = "LABALB", "LABHASH", "LABTG"
SESSION_FILTER = "envoy.filters.http.stateful_session"
MAX_RING_POINTS = 8_388_608  # Envoy's own limit
MAX_TABLE_SLOTS = 5_000_011  # Envoy's own limit

GroupName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,40}$")]
SlowStart = Annotated[
    Annotated[float, Field(gt=0, le=3600)] | None,
    Field(
        description="seconds until a replica that joins or is healthy again gets its full share "
        "(default: at once)"
    ),
]


class RoundRobinOptions(PolicyOptions):
    """Options of round_robin."""

    slow_start_s: SlowStart = None


class LeastRequestOptions(PolicyOptions):
    """Options of least_request."""

    choices: int = Field(
        default=2, ge=2, le=100, description="number of replicas drawn at random; the least busy one is taken"
    )
    full_scan: bool = Field(default=False, description="look at all replicas instead of drawing some")
    slow_start_s: SlowStart = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.full_scan and "choices" in self.model_fields_set:
            raise ValueError("choices changes nothing where full_scan is true; leave one of them out")
        return self


class HashOptions(PolicyOptions):
    """Options of every policy that hashes a key of the request."""

    key: Literal["header", "cookie", "source_address"] = Field(
        default="header",
        description=f"what is hashed: the header x-lab-session (a session's name), the cookie {HASH_COOKIE} "
        "(Envoy sets it for 60 s if there is none), or the client's address",
    )
    bounded_load_percent: Annotated[int, Field(ge=100, le=100_000)] | None = Field(
        default=None,
        description="limit of a replica's requests in flight, in percent of the mean over the replicas; "
        "further "
        "requests go to the next replica (default: no limit)",
    )


class RingHashOptions(client.RingHashOptions, HashOptions):
    """Options of ring_hash."""

    min_ring_size: int = Field(
        default=1024,
        ge=1,
        le=MAX_RING_POINTS,
        description="minimum number of points on the ring, of all replicas together",
    )
    max_ring_size: int = Field(
        default=MAX_RING_POINTS, ge=1, le=MAX_RING_POINTS, description="maximum number of points on the ring"
    )


class MaglevOptions(HashOptions):
    """Options of maglev."""

    table_size: int = Field(
        default=65_537, ge=2, le=MAX_TABLE_SLOTS, description="number of slots of the table, a prime number"
    )

    @model_validator(mode="after")
    def _prime(self) -> Self:
        if not _is_prime(self.table_size):
            prime = next(number for number in range(self.table_size, 0, -1) if _is_prime(number))
            raise ValueError(
                f"table_size {self.table_size} is not a prime number; the next below it is {prime}"
            )
        return self


class StickyOptions(PolicyOptions):
    """Options of sticky."""

    by: Literal["cookie", "header"] = Field(
        default="cookie",
        description=f"what names the replica: the cookie {STICKY_COOKIE} or the header {STICKY_HEADER}",
    )
    strict: bool = Field(
        default=False,
        description="answer UNAVAILABLE when the session's replica is away, instead of picking another",
    )
    ttl_s: int = Field(
        default=86_400,
        ge=1,
        le=604_800,
        description="how long the cookie is valid after it was set (by cookie only; default a day, as an "
        "ALB's)",
    )
    first_pick: Literal["round_robin", "random", "least_request"] = Field(
        default="round_robin", description="what picks a new session's replica"
    )
    keep_draining: bool = Field(
        default=False,
        description="a session stays on its replica while the replica drains, instead of moving at once",
    )

    @model_validator(mode="after")
    def _life_of_a_cookie(self) -> Self:
        if self.by == "header" and "ttl_s" in self.model_fields_set:
            raise ValueError(
                "ttl_s changes nothing where by is 'header', which does not expire; leave it out"
            )
        return self


class WeightedOptions(PolicyOptions):
    """Options of weighted."""

    weights: list[Annotated[int, Field(ge=1, le=1_000_000)]] = Field(
        min_length=1, description="one weight for each replica; the first is that of replica-0"
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
        description="name -> {replicas: how many, weight: 0 to 999}; the first group gets the first replicas",
    )
    sticky_by: Literal["none", "cookie", "header"] = Field(
        default="none",
        description=f"what keeps a session in its group: nothing, the cookie {GROUP_COOKIE} (for a day), "
        "or a hash of the header x-lab-session",
    )

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        if not any(group.weight for group in self.groups.values()):
            raise ValueError("groups: all weights are 0; expected one above 0")
        return self


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def _extension(name: str) -> frozenset[str]:
    return frozenset({f"envoy.load_balancing_policies.{name}"})


def _hash_traits(options: HashOptions, name: str) -> Traits:
    cookie = HASH_COOKIE if options.key == "cookie" else None
    return Traits(hash_key=options.key, cookie=cookie, extensions=_extension(name))


def _sticky_traits(options: StickyOptions) -> Traits:
    return Traits(
        cookie=STICKY_COOKIE if options.by == "cookie" else None,
        echo_header=STICKY_HEADER if options.by == "header" else None,
        extensions=_extension(options.first_pick) | {SESSION_FILTER},
    )


def _group_traits(options: TargetGroupsOptions) -> Traits:
    return Traits(
        hash_key="header" if options.sticky_by == "header" else None,
        cookie=GROUP_COOKIE if options.sticky_by == "cookie" else None,
        groups={name: group.replicas for name, group in options.groups.items()},
        extensions=_extension("round_robin"),
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

LAYER_7: dict[str, Policy] = {
    "round_robin": Policy(
        template="policies/round_robin.yaml.j2",
        meaning="takes the replicas in turn, request by request",
        alb="round_robin, its default. An ALB has several nodes, and each takes turns on its own, as proxy "
        "workers do. Its slow start lasts 30 to 900 s",
        options=RoundRobinOptions,
        traits=lambda _: Traits(extensions=_extension("round_robin")),
        examples=({}, {"slow_start_s": 0.5}),
    ),
    "least_request": Policy(
        template="policies/least_request.yaml.j2",
        meaning="draws a few replicas at random and takes the one with the fewest requests in flight",
        alb="least_outstanding_requests. It compares all targets, as full_scan does, and has no slow start. "
        "By default Envoy draws two",
        options=LeastRequestOptions,
        traits=lambda _: Traits(extensions=_extension("least_request")),
        examples=({}, {"choices": 5}, {"full_scan": True, "slow_start_s": 30}),
    ),
    "random": Policy(
        template="policies/random.yaml.j2",
        meaning="draws a replica at random for each request",
        alb="weighted_random without its anomaly mitigation, which sends fewer requests to failing targets",
        options=NoOptions,
        traits=lambda _: Traits(extensions=_extension("random")),
    ),
    "ring_hash": Policy(
        template="policies/ring_hash.yaml.j2",
        meaning="hashes the request's key to a place on a ring of replicas: one key, one replica",
        alb="none. It is like stickiness without a cookie, but a new target takes over some old sessions",
        options=RingHashOptions,
        traits=lambda options: _hash_traits(options, "ring_hash"),
        examples=(
            *({"key": key} for key in ("header", "cookie", "source_address")),
            {"min_ring_size": 64, "max_ring_size": 128, "bounded_load_percent": 125},
        ),
    ),
    "maglev": Policy(
        template="policies/maglev.yaml.j2",
        meaning="hashes the request's key to a slot of a table that the replicas share evenly",
        alb="none. It is like ring_hash, but spreads the keys more evenly",
        options=MaglevOptions,
        traits=lambda options: _hash_traits(options, "maglev"),
        examples=({}, {"key": "cookie", "table_size": 251, "bounded_load_percent": 100}),
    ),
    "sticky": Policy(
        template="policies/sticky.yaml.j2",
        meaning="picks a replica once for each session; a cookie or a header from Envoy names it afterwards",
        alb="target group stickiness (AWSALB). Differences: the cookie is plain base64 that a client can "
        "forge, and requests do not renew it. An ALB has no header for it and is never strict. "
        "On an ALB, sessions leave a target that drains",
        options=StickyOptions,
        traits=_sticky_traits,
        examples=(
            *({}, {"by": "header", "strict": True}, {"strict": True, "ttl_s": 3}, {"keep_draining": True}),
            *({"first_pick": pick} for pick in ("random", "least_request")),
        ),
    ),
    "weighted": Policy(
        template="policies/weighted.yaml.j2",
        meaning="takes the replicas in turn, each as often as its weight says",
        alb="none for single targets: an ALB has weights on target groups only",
        options=WeightedOptions,
        traits=lambda options: Traits(weights=tuple(options.weights), extensions=_extension("round_robin")),
        replicas_problem=_weights_problem,
        examples=({"weights": [1, 2, 5, 5]},),
    ),
    "target_groups": Policy(
        template="policies/target_groups.yaml.j2",
        meaning="draws a target group by weight for each request or each session, and takes its replicas in "
        "turn",
        alb="a forward action to weighted target groups; by cookie: with group stickiness (AWSALBTG). "
        "Difference: the cookie is the group's plain name, which a client can forge",
        options=TargetGroupsOptions,
        traits=_group_traits,
        replicas_problem=_groups_problem,
        examples=tuple({"groups": _BLUE_GREEN, "sticky_by": by} for by in ("none", "cookie", "header")),
    ),
    "client_side_weighted_round_robin": Policy(
        template="policies/client_side_weighted_round_robin.yaml.j2",
        meaning="takes the replicas in turn, each as often as its load reports (ORCA) allow: rate / "
        "utilisation",
        alb="none: an ALB does not read load reports",
        options=client.WeightedRoundRobinOptions,
        traits=lambda _: Traits(load_reports=True, extensions=_extension("client_side_weighted_round_robin")),
        examples=({}, {"blackout_ms": 0, "weight_update_ms": 100.5}),
    ),
}

LAYER_4: dict[str, Policy] = {
    "round_robin": Policy(
        template="policies/l4_round_robin.yaml.j2",
        meaning="takes the replicas in turn, connection by connection",
        alb="none. An NLB keeps one target for the life of a connection, too. It hashes the connection's "
        "addresses and ports instead of taking turns",
        options=NoOptions,
        traits=lambda _: Traits(extensions=_extension("round_robin")),
    ),
    "source_address_hash": Policy(
        template="policies/l4_source_address_hash.yaml.j2",
        meaning="hashes the client's address to one replica for all its connections",
        alb="none. An NLB with source_ip stickiness does it: one target for all clients behind one address",
        options=NoOptions,
        traits=lambda _: Traits(hash_key="connection", extensions=_extension("maglev")),
    ),
}
