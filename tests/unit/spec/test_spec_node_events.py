"""Events of single nodes of a proxy: what the file may say."""

from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.events.schedule import new_nodes
from harness.plan.cells import plan_cells
from harness.testbed.simulated.limits import not_modelled
from tests.unit.events.kind_experiments import experiment

KILL: dict[str, Any] = {"at_s": 1.0, "do": "proxy_kill", "node": "envoy-1"}
KILL_BOTH = [KILL, {"at_s": 1.5, "do": "proxy_kill", "node": "envoy-0"}]
ADD: dict[str, Any] = {"at_s": 1.0, "do": "proxy_add"}

WRONG = {
    "no node": ([KILL | {"node": None}], "events[0]: do: proxy_kill needs node"),
    "unknown": (
        [KILL | {"node": "envoy-2"}],
        "events[0].node: 'envoy-2': the arm's proxy has no such node; did",
    ),
    "another name": ([KILL | {"node": "b"}], "the arm's proxy has no such node; expected envoy-0, envoy-1"),
    "twice": ([KILL, KILL | {"at_s": 2.0}], "events[1].do: do: proxy_kill at 2 s: envoy-1 has ended before"),
    "it runs": (
        [KILL | {"do": "proxy_start"}],
        "proxy_start at 1 s: envoy-1 is running then, expected ended",
    ),
    "none runs": (
        [*KILL_BOTH, {"at_s": 2.0, "do": "proxy_restart"}],
        "events[2].do: do: proxy_restart at 2 s: no node of the proxy runs then; start one first",
    ),
    "by target": ([KILL | {"target": "envoy-1"}], "events[0].target"),
    "added later": (
        [ADD, KILL | {"at_s": 0.5, "node": "envoy-2"}],
        "do: proxy_kill at 0.5 s: 'envoy-2': the node is added later; expected envoy-0, envoy-1",
    ),
    "never added": (
        [ADD, KILL | {"at_s": 2.0, "node": "envoy-3"}],
        "events[1].node: 'envoy-3': the arm's proxy has no such node; did you mean",
    ),
    "too many": (
        [ADD | {"count": 15}],
        "events[0].do: proxy_add: the events make 17 nodes in all; expected at",
    ),
    "one has ended": (
        [KILL, {"at_s": 2.0, "do": "proxy_restart", "node": "envoy-1"}],
        "events[1].do: do: proxy_restart at 2 s: envoy-1 has ended before; start it first",
    ),
}


@pytest.mark.parametrize(("events", "expected"), WRONG.values(), ids=WRONG)
def test_what_cannot_happen_to_a_node_is_one_line(
    events: list[dict[str, Any]], expected: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        experiment(tmp_path, events)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_node_can_be_killed_again_once_it_has_started(tmp_path: Path) -> None:
    again = [KILL | {"for_s": 0.5}, KILL | {"at_s": 2.0}]
    assert len(experiment(tmp_path, again).events) == 2
    restarted = [*KILL_BOTH, KILL | {"at_s": 2.0, "do": "proxy_start"}, {"at_s": 3.0, "do": "proxy_restart"}]
    assert len(experiment(tmp_path, restarted).events) == 4


def test_the_simulator_says_that_it_does_not_model_them(tmp_path: Path) -> None:
    found = experiment(tmp_path, [KILL | {"for_s": 0.5}])
    reasons = not_modelled(found, found.arms["arm"])
    assert reasons == ["events (proxy_kill) on route envoy"]


def test_a_node_that_was_added_is_one_like_the_others(tmp_path: Path) -> None:
    later = [
        KILL | {"at_s": 2.0, "node": "envoy-3", "for_s": 0.5},
        {"at_s": 3.0, "do": "proxy_drain", "node": "envoy-2"},
    ]
    found = experiment(tmp_path, [ADD | {"count": 2}, *later])
    plan = plan_cells(found)[0]
    assert new_nodes(one.event for one in plan.events) == 2


def test_a_single_node_gets_no_others_because_nobody_looks_up_its_name(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        experiment(tmp_path, [ADD], proxies=1)
    wrong = "proxy_add: clients call a single node at its address and look up no name; expected proxies: 2 or"
    assert f"events[0].do: {wrong}" in str(caught.value)
