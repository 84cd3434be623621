"""Replicas and proxy nodes are dealt out to zones, and a node may keep to its own zone."""

from hypothesis import given
from hypothesis import strategies as st

from harness.fields import proxy_names
from harness.spec.arm import Arm
from harness.spec.zones import priority_of, replicas_of_node, zone_of, zone_of_node, zones_of


def zoned(counts: list[int], nodes: int, *, cross_zone: bool) -> Arm:
    zones = {f"z{number}": count for number, count in enumerate(counts)}
    return Arm(
        route="envoy",
        policy="round_robin",
        proxies=max(nodes, len(zones)),
        zones=zones,
        cross_zone=cross_zone,
    )


@given(
    counts=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    nodes=st.integers(1, 16),
    joined=st.integers(0, 3),
    cross_zone=st.booleans(),
)
def test_every_replica_has_nodes_and_every_node_replicas(
    counts: list[int], nodes: int, joined: int, cross_zone: bool
) -> None:
    arm = zoned(counts, nodes, cross_zone=cross_zone)
    names = [f"replica-{number}" for number in range(sum(counts) + joined)]
    zones = zone_of(arm, names)
    in_zone = [list(zones.values()).count(zone) for zone in arm.zones]
    assert in_zone == [*counts[:-1], counts[-1] + joined]
    of_nodes = {node: replicas_of_node(arm, names, node) for node in proxy_names(arm.proxies)}
    for node, known in of_nodes.items():
        own = zone_of_node(arm, node)
        assert known == [name for name in names if cross_zone or zones[name] == own]
        assert zones_of(arm, of_nodes, names) == zones | {one: zone_of_node(arm, one) for one in of_nodes}
    assert {name for known in of_nodes.values() for name in known} == set(names)


def test_without_zones_nobody_has_one() -> None:
    arm = Arm(route="envoy", policy="round_robin", proxies=3)
    assert zones_of(arm, ["envoy"], ["replica-0"]) == {}
    assert replicas_of_node(arm, ["replica-0"], "envoy-2") == ["replica-0"]


def test_a_node_that_spills_over_prefers_its_own_zone() -> None:
    arm = zoned([1, 2, 1], 4, cross_zone=True)
    spilling = arm.model_copy(update={"cross_zone": "spill_over"})
    names = [f"replica-{number}" for number in range(4)]
    for node, own in zip(proxy_names(4), ("z0", "z1", "z2", "z0"), strict=True):
        assert replicas_of_node(spilling, names, node) == names
        assert {zone: priority_of(spilling, zone, node) for zone in arm.zones} == {
            zone: int(zone != own) for zone in arm.zones
        }
        assert {priority_of(arm, zone, node) for zone in arm.zones} == {0}
