"""XDS: the policies that a control plane gives to gRPC clients (route xds). There is no proxy.

One entry for each policy. Its template below envoy/ is what the control plane tells. C-core 1.85 refuses
other policies of Envoy, such as least_request.
"""

from typing import Self

from pydantic import Field, model_validator

from harness.fields import EjectedPercent, EjectionTime, LookInterval
from harness.policies.envoy_options import (
    SESSION_FILTER,
    STICKY_COOKIE,
    CookieLifeS,
    GroupName,
    KeepDraining,
    TargetGroup,
    confirm_some_weight,
    dealt_problem,
)
from harness.policies.policy import Policy, Traits, balancing_extension
from lb import policies as client
from lb.policies import NoOptions, PolicyOptions

ROUND_ROBIN, RING_HASH = client.POLICIES["round_robin"].grpc_name, client.POLICIES["ring_hash"].grpc_name


class StickyOptions(PolicyOptions):
    """Options of sticky."""

    ttl_s: CookieLifeS = Field(
        default=86_400,
        description="how long the cookie is valid after it was set (default a day, as an ALB's)",
    )
    keep_draining: KeepDraining = False


class OutlierOptions(PolicyOptions):
    """Options of outlier_detection (gRFC A50)."""

    failing_percent: int = Field(
        default=85,
        ge=0,
        le=100,
        description="share of failed calls above which an endpoint is ejected (default 85, gRPC's)",
    )
    min_calls: int = Field(
        default=50,
        ge=1,
        le=1_000_000,
        description="calls of one client to an endpoint in an interval, without which it is not ejected "
        "(default 50, gRPC's)",
    )
    interval_ms: LookInterval = Field(
        default=10_000, description="time between two looks at the calls (default 10000)"
    )
    ejection_ms: EjectionTime = 30_000
    max_ejection_percent: EjectedPercent = Field(
        default=10,
        description="maximum share of the endpoints that are ejected at once (default 10, gRPC's)",
    )


class LocalitiesOptions(PolicyOptions):
    """Options of localities."""

    localities: dict[GroupName, TargetGroup] = Field(
        min_length=1,
        max_length=5,
        description="name -> {replicas: how many, weight: 0 to 999}; the first has the first replicas. "
        "Clients do not use one whose weight is 0",
    )

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        confirm_some_weight("localities", self.localities)
        return self


_ZONES = {"near": {"replicas": 3, "weight": 80}, "far": {"replicas": 1, "weight": 20}}

XDS: dict[str, Policy] = {
    "round_robin": Policy(
        template="policies/xds_round_robin.yaml.j2",
        meaning="connects to every endpoint of the control plane and takes them in turn, call by call",
        alb="round_robin, but every client takes turns on its own, without a target group's health checks. "
        "Endpoints that drain get nothing more",
        options=NoOptions,
        traits=lambda _: Traits(channel_policy=ROUND_ROBIN, extensions=balancing_extension("round_robin")),
    ),
    "ring_hash": Policy(
        template="policies/xds_ring_hash.yaml.j2",
        meaning="hashes the header x-lab-session to a place on a ring of endpoints: one session, one replica",
        alb="none. It is like stickiness without a cookie, but a new target takes over some old sessions",
        options=client.RingHashOptions,
        traits=lambda _: Traits(
            hash_key="header", channel_policy=RING_HASH, extensions=balancing_extension("ring_hash")
        ),
        examples=({}, {"min_ring_size": 64, "max_ring_size": 128}),
    ),
    "sticky": Policy(
        template="policies/xds_sticky.yaml.j2",
        meaning="picks a replica once for each session; a cookie that the client's own gRPC library sets "
        "names it afterwards",
        alb="target group stickiness (AWSALB), without a load balancer. Differences: the cookie is plain "
        "base64 that a client can forge, and requests do not renew it",
        options=StickyOptions,
        traits=lambda _: Traits(
            cookie=STICKY_COOKIE,
            channel_policy=ROUND_ROBIN,
            extensions=balancing_extension("round_robin") | {SESSION_FILTER},
        ),
        examples=({}, {"ttl_s": 60, "keep_draining": True}),
    ),
    "weighted_round_robin": Policy(
        template="policies/xds_weighted_round_robin.yaml.j2",
        meaning="takes the endpoints in turn, each as often as its load reports (ORCA) allow: rate / "
        "utilisation",
        alb="none: an ALB does not read load reports. Its weights are fixed numbers of target groups",
        options=client.WeightedRoundRobinOptions,
        traits=lambda _: Traits(
            load_reports=True,
            channel_policy=client.POLICIES["weighted_round_robin"].grpc_name,
            extensions=balancing_extension("client_side_weighted_round_robin"),
        ),
        examples=({}, {"blackout_ms": 0, "weight_update_ms": 100.5}),
    ),
    "outlier_detection": Policy(
        template="policies/xds_outlier_detection.yaml.j2",
        meaning="takes the endpoints in turn, and leaves out for a time those of which too many calls fail",
        alb="roughly the anomaly mitigation of weighted_random, which sends such a target fewer requests "
        "instead of none. Each client judges by its own calls alone",
        options=OutlierOptions,
        traits=lambda _: Traits(channel_policy=ROUND_ROBIN, extensions=balancing_extension("round_robin")),
        examples=(
            {},
            {"failing_percent": 50, "min_calls": 5, "interval_ms": 200, "max_ejection_percent": 50},
        ),
    ),
    "localities": Policy(
        template="policies/xds_localities.yaml.j2",
        meaning="draws a locality by weight for each call, and takes its endpoints in turn",
        alb="roughly a forward action to weighted target groups, without group stickiness",
        options=LocalitiesOptions,
        traits=lambda options: Traits(
            localities=options.localities,
            channel_policy=ROUND_ROBIN,
            extensions=balancing_extension("wrr_locality") | balancing_extension("round_robin"),
        ),
        replicas_problem=lambda options, replicas: dealt_problem("localities", options.localities, replicas),
        examples=({"localities": _ZONES},),
    ),
}
