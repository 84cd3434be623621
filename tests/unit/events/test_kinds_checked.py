"""Every event kind can be checked and planned, and the checks use the kind's entry."""

from contextlib import ExitStack
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from harness.cli.check import plan_text
from harness.errors import UserError
from harness.events.keys import OWN_KEYS
from harness.events.kind import ANY_STATE, EventKind, State
from harness.events.registry import EVENT_KINDS
from harness.plan.cells import CellPlan, plan_cells
from harness.proxy.render import EnvoyFiles, envoy_args
from harness.spec.experiment import Experiment
from harness.testbed.cell_context import CellContext, replica_args
from harness.testbed.choice import incompatibility
from harness.testbed.docker.engine import LabNetwork
from harness.testbed.docker.fleet import DockerFleet
from tests.unit.events.kind_experiments import event, example_timeline, experiment, opener
from tests.unit.events.test_kinds_by_model import OTHER

KINDS = list(EVENT_KINDS.values())
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)

# Events that bring replica-0 into that state.
BECOMES: dict[State, list[dict[str, Any]]] = {
    "running": [],
    "ended": [{"at_s": 1.0, "do": "kill", "target": "replica-0"}],
    "paused": [{"at_s": 1.0, "do": "pause", "target": "replica-0"}],
    "partitioned": [{"at_s": 1.0, "do": "partition", "target": "replica-0"}],
}


def refusal(folder: Path, events: list[dict[str, Any]], route: str = "envoy") -> str:
    """Return why the events are refused, in one line; "" if they are not."""
    try:
        experiment(folder, events, route)
    except UserError as error:
        assert "\n" not in str(error)
        return str(error)
    return ""


def cell(found: Experiment) -> CellPlan:
    return plan_cells(found)[0]


@each_kind
def test_its_example_is_accepted_and_planned(kind: EventKind, tmp_path: Path) -> None:
    found = experiment(tmp_path, example_timeline(kind))
    assert cell(found).events[-1].event.do == kind.name
    assert f"at 2 s: {kind.name}" in plan_text(found)


@each_kind
def test_its_opposite_follows_after_for_s(kind: EventKind, tmp_path: Path) -> None:
    *before, own = example_timeline(kind)
    if kind.opposite is None:
        expected = rf"do: {kind.name} has no opposite; expected it with kill, "
        assert expected in refusal(tmp_path, [*before, own | {"for_s": 3.0}])
        return
    planned = cell(experiment(tmp_path, [*before, own | {"for_s": 3.0}])).events
    assert (planned[-1].event.do, planned[-1].at_s) == (kind.opposite, 5.0)
    assert planned[-1].undoes == planned[-2].number
    assert planned[-1].event.target == planned[-2].event.target
    assert planned[-1].event.node == planned[-2].event.node


@each_kind
@pytest.mark.parametrize("state", ANY_STATE)
def test_its_target_must_be_in_a_state_in_which_it_makes_sense(
    kind: EventKind, state: State, tmp_path: Path
) -> None:
    if kind.aim == "proxy":
        return
    why = refusal(tmp_path, [*BECOMES[state], event(kind, 2.0, target="replica-0")])
    if state in kind.before:
        assert not why
    else:
        ended = "replica-0 has ended before; start it first"
        reasons = (f"replica-0 is {state} then, expected {' or '.join(kind.before)}", ended)
        assert f"events[{len(BECOMES[state])}].do: do: {kind.name} at 2 s: " in why
        assert why.endswith(reasons)


@each_kind
@pytest.mark.parametrize("later", ["kill", "resume", "start", "rejoin"])
def test_its_target_is_then_in_the_state_that_it_leaves(kind: EventKind, later: str, tmp_path: Path) -> None:
    *_, own = example_timeline(kind)
    if kind.aim != "replicas":
        return
    for before in kind.before:
        timeline = [*BECOMES[before], own | {"at_s": 2.0}, {"at_s": 3.0, "do": later, "target": "replica-0"}]
        possible = (kind.after or before) in EVENT_KINDS[later].before
        assert (not refusal(tmp_path, timeline)) == possible, before


@each_kind
def test_it_has_a_target_or_none(kind: EventKind, tmp_path: Path) -> None:
    before = [event(opening, 1.0)] if (opening := opener(kind)) else []
    without = refusal(tmp_path, [*before, event(kind, 2.0, target=None)])
    with_one = refusal(tmp_path, [*before, event(kind, 2.0, target="replica-0")])
    assert ("needs target" in without) == ("target" in kind.example)
    assert ("acts on the proxy" in with_one) == (kind.aim == "proxy")
    assert bool(without) == (kind.aim == "replicas")
    assert bool(with_one) == (kind.aim == "proxy")


@each_kind
@pytest.mark.parametrize("route", ["direct", "xds"])
def test_it_needs_a_proxy_where_it_is_about_one(kind: EventKind, route: str, tmp_path: Path) -> None:
    why = refusal(tmp_path, example_timeline(kind), route)
    assert (f"route '{route}' has no proxy" in why) == (kind.aim == "proxy")


@each_kind
def test_keys_of_other_kinds_are_refused(kind: EventKind, tmp_path: Path) -> None:
    *before, own = example_timeline(kind)
    if kind.aim == "new replicas":
        own.pop("target", None)
    for key in OWN_KEYS:
        opening = [one | {key: OTHER[key]} if key in one and key in kind.keys else one for one in before]
        why = refusal(tmp_path, [*opening, own | {key: OTHER[key]}])
        if key in kind.keys:
            assert not why, key
        else:
            assert f".{key}: changes nothing with do: {kind.name}; expected it with '" in why


@each_kind
def test_keys_that_it_needs_must_be_there(kind: EventKind, tmp_path: Path) -> None:
    for key in kind.keys:
        *before, own = example_timeline(kind)
        why = refusal(tmp_path, [*before, {name: value for name, value in own.items() if name != key}])
        assert (f"do: {kind.name} needs {key}" in why) == (key in kind.required)


@each_kind
def test_only_containers_can_do_it_where_it_says_so(kind: EventKind, tmp_path: Path) -> None:
    found = experiment(tmp_path, example_timeline(kind))
    why = incompatibility(found, "local") or ""
    assert why == (f"x: do: {_first_of(found)} needs containers; run it with --testbed docker" if why else "")
    assert bool(why) == kind.needs_containers


def _first_of(found: Experiment) -> str:
    return next(one.do for one in found.events if EVENT_KINDS[one.do].needs_containers)


@each_kind
def test_what_goes_in_turns_takes_its_time_in_containers(kind: EventKind, tmp_path: Path) -> None:
    if kind.aim == "proxy":
        return
    late = [*example_timeline(kind)[:-1], event(kind, 6.0, target="replica-0" if opener(kind) else "all")]
    why = incompatibility(experiment(tmp_path, late), "docker")
    too_long = f"x: a {kind.name} of 3 containers takes about 9 s; use --testbed local or --duration 16"
    assert why == (too_long if kind.in_turns else None)


@each_kind
def test_the_part_that_keeps_the_delay_is_started_with_it(kind: EventKind, tmp_path: Path) -> None:
    *before, own = example_timeline(kind)
    if "delay_s" not in kind.keys:
        return
    found = experiment(tmp_path, [*before, own | {"delay_s": 6.5}])
    plan = cell(found)
    context = CellContext(found, plan, tmp_path, 0, None)
    replica = replica_args(context, "replica-0", "127.0.0.1:1")
    proxy = envoy_args(plan, EnvoyFiles(tmp_path, tmp_path / "access.log"))
    grace = replica[replica.index("--grace-s") + 1] if "--grace-s" in replica else None
    drain = proxy[proxy.index("--drain-time-s") + 1] if "--drain-time-s" in proxy else None
    expected = {"replica": ("6.5", None), "proxy": (None, "7"), None: (None, None)}
    assert (grace, drain) == expected[kind.delay_kept_by]


@each_kind
def test_the_engines_dns_does_where_all_that_run_may_be_called(kind: EventKind, tmp_path: Path) -> None:
    if kind.aim == "proxy" or "running" not in kind.before:
        return
    found = experiment(tmp_path, [event(kind, 2.0)], "dns")
    context = CellContext(found, cell(found), tmp_path, 0, None)
    network = LabNetwork("x", IPv4Network("127.0.0.0/24"))
    with ExitStack() as closing:
        fleet = DockerFleet(context, network, None, tmp_path)  # type: ignore[arg-type]  # nothing is started
        closing.callback(fleet.close)
        assert fleet.live.name_server is not None
        assert (fleet.live.name_server != "") == (kind.endpoints == "members")
