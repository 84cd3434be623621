"""XDS: the policies that a control plane gives to gRPC clients (route xds). There is no proxy.

One entry for each policy. Its template below envoy/ is what the control plane tells. C-core 1.85 refuses
other policies of Envoy, such as least_request.
"""

from pydantic import Field

from harness.policies.envoy_options import SESSION_FILTER, STICKY_COOKIE
from harness.policies.policy import Policy, Traits, balancing_extension
from lb import policies as client
from lb.policies import NoOptions, PolicyOptions

ROUND_ROBIN, RING_HASH = client.POLICIES["round_robin"].grpc_name, client.POLICIES["ring_hash"].grpc_name


class StickyOptions(PolicyOptions):
    """Options of sticky."""

    ttl_s: int = Field(
        default=86_400,
        ge=1,
        le=604_800,
        description="how long the cookie is valid after it was set (default a day, as an ALB's)",
    )
    keep_draining: bool = Field(
        default=False,
        description="a session stays on its replica while the replica drains, instead of moving at once",
    )


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
}
