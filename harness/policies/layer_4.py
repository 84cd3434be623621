"""LAYER_4: how Envoy picks a replica for each connection, as an NLB does. One entry a policy."""

from typing import Any

from harness.policies.policy import Policy, Traits, behind_envoy
from lb.policies import NoOptions

LAYER_4: dict[str, Policy[Any]] = {
    "round_robin": behind_envoy(
        "l4_round_robin.yaml.j2",
        meaning="the replicas in turn, connection by connection",
        alb="no ALB but an NLB, one target for a connection's life; an NLB hashes the connection's addresses "
        "and ports instead of taking turns",
        options=NoOptions,
        traits=lambda _: Traits(extensions=frozenset({"envoy.load_balancing_policies.round_robin"})),
    ),
    "source_address_hash": behind_envoy(
        "l4_source_address_hash.yaml.j2",
        meaning="a hash of the client's address picks the replica of all its connections",
        alb="no ALB but an NLB with source_ip stickiness: one target for all clients behind one address",
        options=NoOptions,
        traits=lambda _: Traits(
            hash_key="connection", extensions=frozenset({"envoy.load_balancing_policies.maglev"})
        ),
    ),
}
