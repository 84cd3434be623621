"""What the proxy is to know of the replicas: endpoints, in clusters, as EDS has them."""

from collections.abc import Mapping, Sequence
from typing import Any

from harness.events.fleet import Endpoint
from harness.policies.policy import Traits
from harness.policies.registry import traits_of
from harness.spec.arm import Arm

CLUSTER = "videos"


def assignments(arm: Arm, endpoints: Mapping[str, Endpoint]) -> dict[str, dict[str, Any]]:
    """Each of the arm's clusters -> its EDS DiscoveryResponse, of any of the replicas (name -> endpoint)."""
    groups, weights = group_of(arm, list(endpoints)), _policy_weights(arm, list(endpoints))
    here: dict[str, list[dict[str, object]]] = {cluster: [] for cluster in clusters_of(arm)}
    for name, endpoint in endpoints.items():
        cluster = _cluster(groups[name]) if groups else CLUSTER
        weight = weights.get(name) if endpoint.weight is None else endpoint.weight
        here[cluster].append(_lb_endpoint(endpoint, weight))
    return {cluster: _response(cluster, lb_endpoints) for cluster, lb_endpoints in here.items()}


def named_hosts(endpoints: Mapping[str, Endpoint]) -> list[str]:
    """The addresses, without ports, that a name server is to give out: those of replicas not draining."""
    return [endpoint.address.rpartition(":")[0] for endpoint in endpoints.values() if not endpoint.draining]


def group_of(arm: Arm, replicas: Sequence[str]) -> dict[str, str]:
    """Replica -> its target group; {} for a policy that has no groups.

    replica-0 and those after it are dealt out in order, whether or not the earlier ones are among
    `replicas`; those beyond all groups joined later and belong to the last.
    """
    groups = _traits(arm).groups
    dealt = [group for group, count in groups.items() for _ in range(count)]
    return {name: dealt[min(_number(name), len(dealt) - 1)] for name in replicas} if dealt else {}


def clusters_of(arm: Arm) -> list[str]:
    """The names of Envoy's clusters: one a target group, or the one of all replicas."""
    return [_cluster(group) for group in _traits(arm).groups] or [CLUSTER]


def _cluster(group: str) -> str:
    return f"{CLUSTER}.{group}"


def _traits(arm: Arm) -> Traits:
    return traits_of(arm.route, arm.policy, arm.options)


def _policy_weights(arm: Arm, replicas: Sequence[str]) -> dict[str, int]:
    """The weights that the policy names; a replica that joined later has none, which to Envoy is 1."""
    named = dict(enumerate(_traits(arm).weights))
    return {name: named[_number(name)] for name in replicas if _number(name) in named}


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


def _response(cluster: str, lb_endpoints: list[dict[str, object]]) -> dict[str, Any]:
    return {
        "version_info": "1",
        "resources": [
            {
                "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
                "cluster_name": cluster,
                "endpoints": [{"lb_endpoints": lb_endpoints}],
            }
        ],
    }
