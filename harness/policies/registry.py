"""POLICIES_OF_ROUTE: the policies of every route. Whoever wants to know something of a policy asks here."""

from collections.abc import Mapping

from harness.policies.envoy import LAYER_4, LAYER_7
from harness.policies.policy import Policy, Traits
from harness.policies.xds import XDS
from lb.policies import POLICIES, ClientPolicy, PolicyOptions


def _in_client(policy: ClientPolicy) -> Policy:
    traits = Traits(
        hash_key="header" if policy.hashes_header else None,
        load_reports=policy.load_reports,
        client_health_checks=policy.health_checks,
        channel_policy=policy.grpc_name,
        own_clients=policy.by_lab,
        probes=policy.probes,
    )
    name = None if policy.by_lab else policy.grpc_name
    return Policy(policy.meaning, policy.alb, policy.options, lambda _: traits, grpc_name=name)


POLICIES_OF_ROUTE: Mapping[str, Mapping[str, Policy]] = {
    "envoy": LAYER_7,
    "envoy-l4": LAYER_4,
    "direct": {name: _in_client(policy) for name, policy in POLICIES.items()},
    "xds": XDS,
}


def options_of(route: str, policy: str, options: Mapping[str, object]) -> PolicyOptions:
    """Return the options with their defaults.

    Raises KeyError for a policy that the route does not have, pydantic's ValidationError for bad options.
    """
    return POLICIES_OF_ROUTE[route][policy].chosen(options)


def traits_of(route: str, policy: str, options: Mapping[str, object]) -> Traits:
    """Return what the policy with these options needs and how it is recognised. Raises as `options_of`."""
    return POLICIES_OF_ROUTE[route][policy].traits(options_of(route, policy, options))


def replicas_problem(route: str, policy: str, options: Mapping[str, object], replicas: int) -> str | None:
    """Return why the options do not fit that number of replicas, or None. Raises as `options_of`."""
    return POLICIES_OF_ROUTE[route][policy].replicas_problem(options_of(route, policy, options), replicas)
