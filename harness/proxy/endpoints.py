"""Builds the endpoints and clusters that Envoy gets through EDS."""

from collections.abc import Mapping, Sequence
from typing import Any

from harness.events.fleet import Endpoint
from harness.policies.policy import Traits
from harness.policies.registry import traits_of
from harness.spec.arm import Arm

CLUSTER = "videos"
ASSIGNMENT = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"


def assignments(arm: Arm, endpoints: Mapping[str, Endpoint]) -> dict[str, dict[str, Any]]:
    """Return each of the arm's clusters -> the EDS DiscoveryResponse with its endpoints.

    `endpoints`: name -> endpoint of the replicas to publish.
    """
    groups = group_of(arm, list(endpoints))
    # A replica that joins later has no weight in the policy. Envoy then uses 1.
    weights = dict(enumerate(_traits(arm).weights))
    found: dict[str, list[dict[str, object]]] = {cluster: [] for cluster in clusters_of(arm)}
    for name, endpoint in endpoints.items():
        cluster = _cluster(groups[name]) if groups else CLUSTER
        weight = weights.get(_number(name)) if endpoint.weight is None else endpoint.weight
        found[cluster].append(_lb_endpoint(endpoint, weight))
    return {
        cluster: {
            "version_info": "1",
            "resources": [
                {"@type": ASSIGNMENT, "cluster_name": cluster, "endpoints": [{"lb_endpoints": lb_endpoints}]}
            ],
        }
        for cluster, lb_endpoints in found.items()
    }


def named_hosts(endpoints: Mapping[str, Endpoint]) -> list[str]:
    """Return the hosts that a name server should return: those of the replicas that do not drain."""
    return [endpoint.address.rpartition(":")[0] for endpoint in endpoints.values() if not endpoint.draining]


def group_of(arm: Arm, replicas: Sequence[str]) -> dict[str, str]:
    """Return replica -> its target group; {} for a policy without groups.

    The groups get their replicas in the order of the replicas' numbers, whether or not all of them are in
    `replicas`. Replicas that join later belong to the last group.
    """
    groups = _traits(arm).groups
    dealt = [group for group, count in groups.items() for _ in range(count)]
    return {name: dealt[min(_number(name), len(dealt) - 1)] for name in replicas} if dealt else {}


def clusters_of(arm: Arm) -> list[str]:
    """Return the names of Envoy's clusters: one for each target group, or a single one."""
    return [_cluster(group) for group in _traits(arm).groups] or [CLUSTER]


def _cluster(group: str) -> str:
    return f"{CLUSTER}.{group}"


def _traits(arm: Arm) -> Traits:
    return traits_of(arm.route, arm.policy, arm.options)


def _number(replica: str) -> int:
    return int(replica.rpartition("-")[2])


def _lb_endpoint(endpoint: Endpoint, weight: int | None) -> dict[str, object]:
    host, _, port = endpoint.address.rpartition(":")
    entry: dict[str, object] = {
        "endpoint": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}
    }
    if endpoint.draining:
        entry["health_status"] = "DRAINING"
    if weight is not None:
        entry["load_balancing_weight"] = weight
    return entry
