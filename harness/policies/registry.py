"""POLICIES_OF_ROUTE: the policies of every route. Whoever wants to know something of a policy asks here."""

from collections.abc import Mapping
from typing import Any

from harness.policies.layer_4 import LAYER_4
from harness.policies.layer_7 import LAYER_7
from harness.policies.policy import Policy, Traits
from lb.policies import POLICIES, ClientPolicy, PolicyOptions


def _in_client(policy: ClientPolicy) -> Policy[Any]:
    traits = Traits(
        hash_key="header" if policy.hashes_header else None,
        load_reports=policy.load_reports,
        client_health_checks=policy.health_checks,
        channel_policy=policy.grpc_name,
    )
    source = f"gRPC's name: `{policy.grpc_name}`, in a service config: [lb/policies.py](../lb/policies.py)"
    return Policy(policy.meaning, policy.alb, source, policy.options, lambda _: traits)


POLICIES_OF_ROUTE: Mapping[str, Mapping[str, Policy[Any]]] = {
    "envoy": LAYER_7,
    "envoy-l4": LAYER_4,
    "direct": {name: _in_client(policy) for name, policy in POLICIES.items()},
}


def options_of(route: str, policy: str, options: Mapping[str, object]) -> PolicyOptions:
    """Return the options with their defaults.

    Raises KeyError for a policy that the route does not have, pydantic's ValidationError for bad options.
    """
    chosen: PolicyOptions = POLICIES_OF_ROUTE[route][policy].chosen(options)
    return chosen


def traits_of(route: str, policy: str, options: Mapping[str, object]) -> Traits:
    """Return what the policy with these options needs and how it is recognised. Raises as `options_of`."""
    return POLICIES_OF_ROUTE[route][policy].traits(options_of(route, policy, options))


def replicas_problem(route: str, policy: str, options: Mapping[str, object], replicas: int) -> str | None:
    """Return why the options do not fit that number of replicas, or None. Raises as `options_of`."""
    return POLICIES_OF_ROUTE[route][policy].replicas_problem(options_of(route, policy, options), replicas)
