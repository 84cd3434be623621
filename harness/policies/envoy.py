"""LAYER_7 and LAYER_4: the policies by which Envoy picks a replica for each request, and for each connection.

One entry for each policy; envoy_options.py has their options.
"""

from harness.policies.alb import alb_groups, alb_round_robin, alb_sticky, algorithm, nlb_source_ip
from harness.policies.envoy_options import (
    GROUP_COOKIE,
    HASH_COOKIE,
    SESSION_FILTER,
    STICKY_COOKIE,
    STICKY_HEADER,
    HashOptions,
    LeastRequestOptions,
    MaglevOptions,
    RingHashOptions,
    RoundRobinOptions,
    StickyOptions,
    TargetGroupsOptions,
    WeightedOptions,
    dealt_problem,
)
from harness.policies.policy import Policy, Traits, balancing_extension
from lb import policies as client
from lb.policies import NoOptions


def _hash_traits(options: HashOptions, name: str) -> Traits:
    cookie = HASH_COOKIE if options.key == "cookie" else None
    return Traits(hash_key=options.key, cookie=cookie, extensions=balancing_extension(name))


def _sticky_traits(options: StickyOptions) -> Traits:
    return Traits(
        cookie=STICKY_COOKIE if options.by == "cookie" else None,
        echo_header=STICKY_HEADER if options.by == "header" else None,
        extensions=balancing_extension(options.first_pick) | {SESSION_FILTER},
    )


def _group_traits(options: TargetGroupsOptions) -> Traits:
    return Traits(
        hash_key="header" if options.sticky_by == "header" else None,
        cookie=GROUP_COOKIE if options.sticky_by == "cookie" else None,
        groups={name: group.replicas for name, group in options.groups.items()},
        extensions=balancing_extension("round_robin"),
    )


def _weights_problem(options: WeightedOptions, replicas: int) -> str | None:
    if len(options.weights) == replicas:
        return None
    return f"weights: {len(options.weights)} for {replicas} replicas; expected one for each"


_BLUE_GREEN = {"blue": {"replicas": 3, "weight": 90}, "green": {"replicas": 1, "weight": 10}}

LAYER_7: dict[str, Policy] = {
    "round_robin": Policy(
        template="policies/round_robin.yaml.j2",
        meaning="takes the replicas in turn, request by request",
        alb="round_robin, its default. An ALB has several nodes, and each takes turns on its own, as proxy "
        "workers do. Its slow start lasts 30 to 900 s",
        options=RoundRobinOptions,
        alb_settings=alb_round_robin,
        traits=lambda _: Traits(extensions=balancing_extension("round_robin")),
        examples=({}, {"slow_start_s": 0.5}),
    ),
    "least_request": Policy(
        template="policies/least_request.yaml.j2",
        meaning="draws a few replicas at random and takes the one with the fewest requests in flight",
        alb="least_outstanding_requests. It compares all targets, as full_scan does, and has no slow start. "
        "By default Envoy draws two",
        options=LeastRequestOptions,
        alb_settings=lambda _: algorithm("least_outstanding_requests", "Least outstanding requests"),
        traits=lambda _: Traits(extensions=balancing_extension("least_request")),
        examples=({}, {"choices": 5}, {"full_scan": True, "slow_start_s": 30}),
    ),
    "random": Policy(
        template="policies/random.yaml.j2",
        meaning="draws a replica at random for each request",
        alb="weighted_random without its anomaly mitigation, which sends fewer requests to failing targets",
        options=NoOptions,
        alb_settings=lambda _: algorithm("weighted_random", "Weighted random"),
        traits=lambda _: Traits(extensions=balancing_extension("random")),
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
        alb_settings=alb_sticky,
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
        traits=lambda options: Traits(
            weights=tuple(options.weights), extensions=balancing_extension("round_robin")
        ),
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
        alb_settings=alb_groups,
        traits=_group_traits,
        replicas_problem=lambda options, replicas: dealt_problem("groups", options.groups, replicas),
        examples=tuple({"groups": _BLUE_GREEN, "sticky_by": by} for by in ("none", "cookie", "header")),
    ),
    "client_side_weighted_round_robin": Policy(
        template="policies/client_side_weighted_round_robin.yaml.j2",
        meaning="takes the replicas in turn, each as often as its load reports (ORCA) allow: rate / "
        "utilisation",
        alb="none: an ALB does not read load reports",
        options=client.WeightedRoundRobinOptions,
        traits=lambda _: Traits(
            load_reports=True, extensions=balancing_extension("client_side_weighted_round_robin")
        ),
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
        traits=lambda _: Traits(extensions=balancing_extension("round_robin")),
    ),
    "source_address_hash": Policy(
        template="policies/l4_source_address_hash.yaml.j2",
        meaning="hashes the client's address to one replica for all its connections",
        alb="none. An NLB with source_ip stickiness does it: one target for all clients behind one address",
        options=NoOptions,
        alb_settings=lambda _: nlb_source_ip(),
        traits=lambda _: Traits(hash_key="connection", extensions=balancing_extension("maglev")),
    ),
}
