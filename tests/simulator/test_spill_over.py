"""Nodes of a proxy that make checks of their own, and zones that spill over, as Envoy documents it."""

from typing import Any

import numpy as np
import pytest

import tests.simulator.kernels  # noqa: F401
from simulator.health import refresh
from simulator.simulation import new_state, simulate
from simulator.state import State
from simulator.system import (
    OK,
    UNAVAILABLE,
    Change,
    Outcome,
    OutlierDetection,
    Policy,
)
from tests.simulator.loads import CHECKS, MS, TURNS, change, fleet, poisson

ZONES = (0, 0, 0, 1, 1, 1)


def run(*changes: Change, policy: Policy = TURNS, **own: Any) -> Outcome:
    """Simulate 600 calls a second of 5 ms for 3 s, on two zones of three replicas with many slots."""
    settings: dict[str, Any] = {"nodes": 2, "spread": True, "checks": CHECKS, "zones": ZONES}
    system = fleet(6, policy, 50, changes=changes, **(settings | own))
    return simulate(system, poisson(1800, 600, 5))


def at_home(found: Outcome, from_ms: float, to_ms: float, node: int = 0) -> float:
    """Return which share of a node's answered calls its own zone had."""
    window = (found.planned_ns >= from_ms * MS) & (found.planned_ns < to_ms * MS)
    mine = window & (found.node == node) & (found.replica >= 0)
    return float((np.array(ZONES)[found.replica[mine]] == node).mean())


def priorities(own: str, others: str, panic_percent: int = 50) -> State:
    """Return the state of a node whose zone and whose spare zone have these replicas: + healthy, - not."""
    zones = (0,) * len(own) + (1,) * len(others)
    system = fleet(len(zones), TURNS, zones=zones, nodes=2, spill_over=True, panic_percent=panic_percent)
    state = new_state(system, poisson(1, 1, 1))
    state.endpoints["healthy"] = [one == "+" for one in own + others]
    refresh(state)
    return state


@pytest.mark.parametrize(
    ("own", "others", "percent"),
    [
        ("++++", "++++", 100),
        ("+++-", "++++", 100),  # 75 % healthy: 1.4 times that is enough
        ("++--", "++++", 70),
        ("+---", "++++", 35),
        ("----", "++++", 0),
        ("+---", "+---", 50),  # 35 % and 35 %: they carry all together
        ("----", "++--", 0),
        ("++-", "+++", 93),
        ("+--", "+++", 46),
    ],
)
def test_what_a_zone_keeps_is_as_envoys_documentation_says(own: str, others: str, percent: int) -> None:
    """https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/priority"""
    assert priorities(own, others).nodes["first_percent"][0] == percent


def test_a_zone_panics_only_if_there_is_not_enough_in_all() -> None:
    def listed(own: str, others: str) -> list[int]:
        node = priorities(own, others).nodes[0]
        return [int(node["count"]), int(node["spare"])]

    assert listed("+---", "++++") == [1, 4]  # below the threshold, but the other zone carries all
    assert listed("+---", "+---") == [4, 4]
    assert listed("----", "++--") == [4, 2]  # 70 % in all; half of the other zone is at the threshold
    both = priorities("--", "----")
    assert [int(value) for value in both.nodes[0]][:3] == [2, 4, 34]  # all panic: by number of replicas


def test_a_single_zone_with_enough_healthy_replicas_does_not_panic() -> None:
    """1.4 times 75 % is more than all, so a threshold of 90 % plays no part."""
    found = run(change(1000, "not_serving", 0), zones=(), panic_percent=90)
    late = found.planned_ns > 1150 * MS
    assert 0 not in found.replica[late]


def test_calls_stay_in_the_zone_and_spill_over_by_the_number_of_healthy_replicas() -> None:
    down = [change(1000, "not_serving", number) for number in (0, 1)]
    found = run(*down, change(2000, "serving", 0), change(2000, "serving", 1), spill_over=True)
    assert set(found.code) == {OK}
    assert at_home(found, 0, 1000) == 1
    assert at_home(found, 1110, 2000) == pytest.approx(0.46, abs=0.1)  # of 270 calls: 3 sigma
    assert at_home(found, 2300, 3000) == 1
    assert at_home(found, 0, 3000, node=1) == 1
    alone = run(*down)
    assert at_home(alone, 0, 3000) == 1


def test_a_dead_zone_is_asked_on_where_no_other_may_be() -> None:
    kills = [change(1000, "kill", number) for number in (0, 1, 2)]
    late_failures = {}
    for name, own in (("off", {}), ("on", {"zones": ()}), ("spill", {"spill_over": True})):
        found = run(*kills, **own)
        late = found.planned_ns > 1250 * MS
        late_failures[name] = float((found.code[late] == UNAVAILABLE).mean())
        if name == "spill":
            assert (found.node[found.code != OK] == 0).all()
    assert late_failures["off"] == pytest.approx(0.5, abs=0.05)
    assert (late_failures["on"], late_failures["spill"]) == (0, 0)


def test_each_node_makes_its_own_checks_and_the_log_has_what_all_nodes_know() -> None:
    found = run(change(1000, "kill", 0), zones=(), nodes=3)
    failed = found.code != OK
    last = [int(found.planned_ns[failed & (found.node == node)].max()) for node in range(3)]
    assert max(last) - min(last) > 5 * MS
    (gone_ns,) = [at for at, number, state in found.endpoints if (number, state) == (0, "unhealthy")]
    assert max(last) <= gone_ns <= 1200 * MS


def test_each_node_breaks_its_own_circuit() -> None:
    calls = poisson(400, 400, 100)
    found = simulate(fleet(4, TURNS, 50, max_active=5, nodes=3, spread=True), calls)
    taken = found.code == OK
    for node in range(3):
        mine = taken & (found.node == node)
        starts, ends = found.sent_ns[mine], found.answered_ns[mine]
        assert max(((starts <= now) & (ends > now)).sum() for now in starts) == 5


def test_each_node_counts_errors_and_ejects_for_itself() -> None:
    system = fleet(4, TURNS, 50, nodes=3, spread=True, outliers=OutlierDetection(5, 100 * MS, 10**13, 100))
    one, *others = system.replicas
    failing = type(one)(one.address, 50, fail_share=1.0)
    found = simulate(type(system)(**{**vars(system), "replicas": (failing, *others)}), poisson(900, 400, 5))
    failed = found.code != OK
    assert np.bincount(found.node[failed]).tolist() == [5, 5, 5]
