"""Which zone replicas and proxy nodes are in, and to which replicas a node may send."""

from collections.abc import Iterable, Mapping, Sequence

from harness.fields import node_number, replica_number
from harness.spec.arm import Arm


def zone_of_node(arm: Arm, node: str) -> str | None:
    """Return the zone of a node of the proxy; None without zones. The zones get nodes in turn."""
    return list(arm.zones)[node_number(node) % len(arm.zones)] if arm.zones else None


def zone_of(arm: Arm, replicas: Iterable[str]) -> dict[str, str]:
    """Return replica -> its zone; {} without zones. Replicas that join later are in the last one."""
    return dealt_to(arm.zones, list(replicas))


def zones_of(arm: Arm, nodes: Iterable[str], replicas: Iterable[str]) -> dict[str, str]:
    """Return the zone of each of these nodes of the proxy and replicas; {} without zones."""
    of_nodes = {node: zone for node in nodes if (zone := zone_of_node(arm, node))}
    return of_nodes | zone_of(arm, replicas)


def replicas_of_node(arm: Arm, replicas: Iterable[str], node: str) -> list[str]:
    """Return those of the replicas to which a node of the proxy may send."""
    names, own = list(replicas), zone_of_node(arm, node)
    if arm.cross_zone or own is None:
        return names
    zones = zone_of(arm, names)
    return [name for name in names if zones[name] == own]


def priority_of(arm: Arm, zone: str | None, node: str) -> int:
    """Return the priority of a zone's replicas for a node of the proxy: 0 is the highest.

    With `cross_zone: spill_over` other zones have priority 1. Envoy sends them what the healthy replicas of
    priority 0 cannot carry (its overprovisioning factor is 1.4).
    """
    return int(arm.cross_zone == "spill_over" and zone != zone_of_node(arm, node))


def is_zone_aware(arm: Arm) -> bool:
    """Return whether the nodes of an arm route zone-aware, for which each must know all nodes."""
    return arm.cross_zone == "zone_aware"


def dealt_to(counts: Mapping[str, int], replicas: Sequence[str]) -> dict[str, str]:
    """Return replica -> its group: each group gets its replicas in the order of the replicas' numbers.

    `counts`: group -> number of replicas at the start. Replicas that join later belong to the last group.
    """
    dealt = [group for group, count in counts.items() for _ in range(count)]
    return {name: dealt[min(replica_number(name), len(dealt) - 1)] for name in replicas} if dealt else {}
