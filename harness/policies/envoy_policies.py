"""ENVOY_POLICIES, L4_POLICIES: how Envoy picks a replica. Their templates are in envoy/policies/.

Light to import: reading an experiment file needs no template engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from harness.policies.envoy_options import (
    ClientSideWeightedOptions,
    EnvoyOptions,
    LeastRequestOptions,
    MaglevOptions,
    RingHashOptions,
    RoundRobinOptions,
    StickyOptions,
    TargetGroupsOptions,
    WeightedOptions,
)

# What Envoy can try again: gRPC's code -> names for its `retry_on`. A caller sees UNAVAILABLE also when the
# replica is away or drops the connection; Envoy has a name of its own for that (reset: no answer at all).
RETRY_ON = {
    "CANCELLED": "cancelled",
    "DEADLINE_EXCEEDED": "deadline-exceeded",
    "INTERNAL": "internal",
    "RESOURCE_EXHAUSTED": "resource-exhausted",
    "UNAVAILABLE": "unavailable,reset",
}


@dataclass(frozen=True)
class EnvoyPolicy:
    """One policy behind Envoy.

    `template`: below envoy/; `meaning`: what it does; `alb`: what it is in ALB terms, and where it is not an
    ALB; `options`: the model of its options.
    """

    template: str
    meaning: str
    alb: str
    options: type[EnvoyOptions] = EnvoyOptions

    def chosen(self, options: Mapping[str, object] | BaseModel) -> EnvoyOptions:
        """The options as a model, defaults filled in. Raises ValueError (pydantic's) for wrong ones."""
        return self.options.model_validate(options)

    def cookie(self, options: Mapping[str, object] | BaseModel) -> bool:
        """Whether Envoy answers with a cookie that clients are to send back."""
        return self.chosen(options).sets_cookie

    def echo_header(self, options: Mapping[str, object] | BaseModel) -> str | None:
        """The header that Envoy answers with and that clients are to send back, if there is one."""
        return self.chosen(options).echo_header


ENVOY_POLICIES: dict[str, EnvoyPolicy] = {
    "round_robin": EnvoyPolicy(
        "policies/round_robin.yaml.j2",
        "the replicas in turn, request by request",
        "round_robin, its default; an ALB is several nodes that each take turns alone, as proxy workers do; "
        "its slow start lasts 30 to 900 s",
        RoundRobinOptions,
    ),
    "least_request": EnvoyPolicy(
        "policies/least_request.yaml.j2",
        "of a few replicas drawn at random, the one with the fewest requests under way",
        "least_outstanding_requests, which looks at all targets as full_scan does and has no slow start; "
        "Envoy otherwise draws two",
        LeastRequestOptions,
    ),
    "random": EnvoyPolicy(
        "policies/random.yaml.j2",
        "a replica drawn at random for each request",
        "weighted_random without its anomaly mitigation, which sends failing targets less",
    ),
    "ring_hash": EnvoyPolicy(
        "policies/ring_hash.yaml.j2",
        "a hash of the request's key picks a place on a ring of replicas: one key, one replica",
        "none; stickiness without a balancer's cookie, and a new target takes over some old sessions",
        RingHashOptions,
    ),
    "maglev": EnvoyPolicy(
        "policies/maglev.yaml.j2",
        "a hash of the request's key picks a slot of a table that the replicas share evenly",
        "none; as ring_hash, with shares of the keys that are more even",
        MaglevOptions,
    ),
    "sticky": EnvoyPolicy(
        "policies/sticky.yaml.j2",
        "a cookie or a header from Envoy names the session's replica, which was picked once",
        "target group stickiness (AWSALB); not as there: the cookie is plain base64 that a client can forge, "
        "and its life does not slide; an ALB knows no header for it and is never strict; "
        "sessions leave a target that drains",
        StickyOptions,
    ),
    "weighted": EnvoyPolicy(
        "policies/weighted.yaml.j2",
        "the replicas in turn, each as often as its weight says",
        "none for single targets: an ALB has weights on target groups only",
        WeightedOptions,
    ),
    "target_groups": EnvoyPolicy(
        "policies/target_groups.yaml.j2",
        "a group drawn by weight for each request or each session, its replicas in turn",
        "a forward to weighted target groups, by cookie with their group stickiness (AWSALBTG); not as "
        "there: the cookie is the group's plain name, which a client can forge",
        TargetGroupsOptions,
    ),
    "client_side_weighted_round_robin": EnvoyPolicy(
        "policies/client_side_weighted_round_robin.yaml.j2",
        "the replicas in turn, as often as rate / utilisation of their own load reports (ORCA) allows",
        "none: an ALB hears no load reports",
        ClientSideWeightedOptions,
    ),
}

L4_POLICIES: dict[str, EnvoyPolicy] = {
    "round_robin": EnvoyPolicy(
        "policies/l4_round_robin.yaml.j2",
        "the replicas in turn, connection by connection",
        "no ALB but an NLB, one target for a connection's life; an NLB hashes the connection's addresses and "
        "ports instead of taking turns",
    ),
    "source_address_hash": EnvoyPolicy(
        "policies/l4_source_address_hash.yaml.j2",
        "a hash of the client's address picks the replica of all its connections",
        "no ALB but an NLB with source_ip stickiness: one target for all clients behind one address",
    ),
}

POLICIES_OF_PROXY = {"envoy": ENVOY_POLICIES, "envoy-l4": L4_POLICIES}
