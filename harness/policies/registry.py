"""Which policies each route has: one register over the proxy's and the client's own."""

from collections.abc import Mapping

from pydantic import BaseModel

from harness.policies.envoy_options import TargetGroupsOptions, WeightedOptions
from harness.policies.envoy_policies import POLICIES_OF_PROXY, EnvoyPolicy
from harness.spec.arm import Arm
from lb.policies import POLICIES, ClientPolicy

POLICIES_OF_ROUTE: Mapping[str, Mapping[str, EnvoyPolicy | ClientPolicy]] = {
    **POLICIES_OF_PROXY,
    "direct": POLICIES,
}


def options_of(arm: Arm) -> BaseModel:
    """The policy's options with their defaults. Raises pydantic's ValidationError where they are bad."""
    return POLICIES_OF_ROUTE[arm.route][arm.policy].options.model_validate(arm.options)


def incompatibility(arm: Arm, replicas: int) -> str | None:
    """What of the policy's (valid) options does not fit that number of replicas; None: nothing."""
    options = options_of(arm)
    if isinstance(options, WeightedOptions) and len(options.weights) != replicas:
        return f"weights: {len(options.weights)} for {replicas} replicas; expected one for each"
    if isinstance(options, TargetGroupsOptions):
        dealt = sum(group.replicas for group in options.groups.values())
        if dealt != replicas:
            return f"groups: {dealt} replicas in all; expected {replicas}, as many as there are"
    return None


def sets_cookie(arm: Arm) -> bool:
    """Whether the proxy answers with a cookie."""
    policy = POLICIES_OF_ROUTE[arm.route][arm.policy]
    return isinstance(policy, EnvoyPolicy) and policy.cookie(arm.options)


def echo_header(arm: Arm) -> str | None:
    """The header of an answer that clients must send back to stay where they are, if there is one."""
    policy = POLICIES_OF_ROUTE[arm.route][arm.policy]
    return policy.echo_header(arm.options) if isinstance(policy, EnvoyPolicy) else None
