"""What the simulator does not model of an arm."""

from collections.abc import Iterator

from harness.spec.arm import Arm
from harness.spec.experiment import Experiment, Workload
from harness.testbed.simulated.timeline import BY_CONTROL_PLANE, EFFECTS, WITHOUT_PROXY

MAX_RING_THAT_CHANGES = 16_384  # points of a ring that is built anew when replicas come and go
# Policies of each route that the simulator has.
POLICIES = {
    "envoy": ("round_robin", "least_request", "random", "ring_hash", "maglev", "sticky", "weighted"),
    "envoy-l4": ("round_robin", "source_address_hash"),
    "direct": ("pick_first", "round_robin", "ring_hash", "least_request", "probing"),
    "xds": ("round_robin", "ring_hash", "sticky"),
}

# Of other routes: WITHOUT_PROXY.
MODELLED_EVENTS = {"envoy": tuple(EFFECTS), "xds": (*WITHOUT_PROXY, *BY_CONTROL_PLANE)}


def not_modelled(experiment: Experiment, arm: Arm) -> list[str]:
    """Return what of the arm is not modelled and would change its result, each in a few words; often nothing.

    An arm with such a part is not simulated.
    """
    return list(_parts(experiment, arm, experiment.workload_of(arm)))


def _parts(experiment: Experiment, arm: Arm, work: Workload) -> Iterator[str]:
    replicas = experiment.replicas
    if work.locustfile is not None:
        yield "locustfile (the tasks of its users)"
    elif work.rate_per_s is None:
        yield "think_time_ms (a closed loop)"
    if streams := [str(name) for name in work.calls if name != "AddVideo"]:
        yield f"streams ({', '.join(streams)})"
    if arm.policy not in POLICIES[arm.route]:
        yield f"policy {arm.policy} on route {arm.route}"
    if arm.options.get("slow_start_s") is not None:
        yield "slow_start_s"
    kinds = MODELLED_EVENTS.get(arm.route, WITHOUT_PROXY)
    events = experiment.events_of(arm)
    if others := list(dict.fromkeys(event.do for event in events if event.do not in kinds)):
        yield f"events ({', '.join(others)}) on route {arm.route}"
    if any(event.target == "most_loaded" for event in events):
        yield "target most_loaded"
    if events and arm.options.get("min_ring_size", 0) > MAX_RING_THAT_CHANGES:
        yield f"events with a min_ring_size above {MAX_RING_THAT_CHANGES}"
    if replicas.outage is not None:
        yield "replicas.outage"
    if arm.server != "asyncio":
        yield f"server {arm.server}"
    if arm.health_check:
        yield "health_check of the client"
    for key in ("adaptive_concurrency", "admission_control", "subsetting"):
        if getattr(arm, key) is not None:
            yield key
    if arm.retries is not None and arm.retries.by == "client":
        yield "retries by the client"
    if arm.retries is not None and arm.retries.budget_percent is not None:
        yield "retries.budget_percent"
    if arm.tls is not None:
        yield "tls"
    if arm.proxies > 1:
        yield from _of_several_nodes(arm, bool(events))
    if arm.max_connection_age_s is not None and arm.max_connection_age_s <= work.warm_up_s + work.duration_s:
        yield "max_connection_age_s"
    if arm.idle_timeout_s is not None and arm.idle_timeout_s <= work.warm_up_s + work.duration_s:
        yield "idle_timeout_s"


def _of_several_nodes(arm: Arm, events: bool) -> Iterator[str]:
    """Yield what the simulator has only once for all nodes of a proxy, where each has its own."""
    tables = arm.policy in ("ring_hash", "maglev")
    if tables and (events or arm.outlier_detection is not None):
        yield f"policy {arm.policy} with several proxies, where replicas come and go"
    if arm.policy == "weighted":
        yield "policy weighted with several proxies"
    if arm.cross_zone == "zone_aware":
        yield "cross_zone: zone_aware"
    elif tables and arm.cross_zone is not True:
        yield f"policy {arm.policy} with cross_zone: {str(arm.cross_zone).lower()}"
    if arm.connections == "shared" and arm.proxy_use == "spread":
        yield "a shared connection with several proxies"
