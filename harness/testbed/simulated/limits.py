"""What the simulator does not model of an arm."""

from collections.abc import Iterator

from harness.spec.arm import Arm
from harness.spec.experiment import Experiment, Workload

# Policies of each route that the simulator has.
POLICIES = {
    "envoy": ("round_robin", "least_request", "random", "ring_hash", "maglev", "sticky", "weighted"),
    "envoy-l4": ("round_robin", "source_address_hash"),
    "direct": ("pick_first", "round_robin", "ring_hash"),
}


def not_modelled(experiment: Experiment, arm: Arm) -> list[str]:
    """Return what of the arm is not modelled and would change its result, each in a few words; often nothing.

    An arm with such a part is not simulated.
    """
    return list(_parts(experiment, arm, experiment.workload_of(arm)))


def _parts(experiment: Experiment, arm: Arm, work: Workload) -> Iterator[str]:
    replicas = experiment.replicas
    if work.rate_per_s is None:
        yield "think_time_ms (a closed loop)"
    if streams := [str(name) for name in work.calls if name != "AddVideo"]:
        yield f"streams ({', '.join(streams)})"
    if arm.policy not in POLICIES[arm.route]:
        yield f"policy {arm.policy} on route {arm.route}"
    if arm.options.get("slow_start_s") is not None:
        yield "slow_start_s"
    if events := list(dict.fromkeys(event.do for event in experiment.events_of(arm))):
        yield f"events ({', '.join(events)})"
    if replicas.outage is not None:
        yield "replicas.outage"
    if arm.server != "asyncio":
        yield f"server {arm.server}"
    for field in ("retries", "outlier_detection", "circuit_breaker", "session_lifetime_s"):
        if getattr(arm, field) is not None:
            yield field
    if arm.max_connection_age_s is not None and arm.max_connection_age_s <= work.warm_up_s + work.duration_s:
        yield "max_connection_age_s"
    if arm.idle_timeout_s is not None and arm.idle_timeout_s <= work.warm_up_s + work.duration_s:
        yield "idle_timeout_s"
