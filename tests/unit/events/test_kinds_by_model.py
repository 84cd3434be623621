"""The action of each event kind does what its entry says, on a model of a cell."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from harness.errors import LabError
from harness.events import nodes
from harness.events.context import Endpoint
from harness.events.keys import OWN_KEYS
from harness.events.kind import ANY_STATE, EventKind
from harness.events.registry import EVENT_KINDS
from harness.events.schedule import Event, delays_kept_by, planned_events
from harness.fields import is_proxy
from tests.unit.events.model_cell import (
    ImpossibleError,
    ModelContext,
    Outcome,
    State,
    carry_out,
    healthy_cell,
)

KINDS = list(EVENT_KINDS.values())
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)

# Values that are not the defaults.
OTHER: dict[str, Any] = {
    **{"factor": 7, "share": 0.5, "code": "ABORTED", "after_headers": True, "after_work": True},
    **{"delay_s": 7.0, "weight": 7, "cores": 0.7, "count": 2, "node": "envoy-0"},
}


def changes(outcome: Outcome) -> bool:
    """Whether the event changed anything, if only for a time."""
    return any(state != outcome.history[0] for state in outcome.history)


def does_something(kind: EventKind, state: State, **keys: str) -> bool:
    """Whether the event is possible in that state, and changes anything."""
    try:
        return changes(carry_out(kind, state, **keys))
    except ImpossibleError:
        return False


@cache
def situations() -> Sequence[State]:
    """A healthy cell, and what single events make of one."""
    found = [healthy_cell()]
    for kind in KINDS:
        try:
            found.append(carry_out(kind, healthy_cell()).fleet.state)
        except ImpossibleError:
            continue
    return found


def outcome_of(kind: EventKind, **keys: str) -> Outcome:
    """Return the outcome in the first situation in which the kind has an effect. It is not to be changed."""
    return _outcome_of(kind.name, **keys)


@cache
def _outcome_of(name: str, **keys: str) -> Outcome:
    kind = EVENT_KINDS[name]
    for state in situations():
        try:
            outcome = carry_out(kind, state, **keys)
        except ImpossibleError:
            continue
        if changes(outcome):
            return outcome
    raise AssertionError(f"{kind.name} never does anything")


def in_state(wanted: str) -> State:
    """A cell whose replica-0 is in that state."""
    state = healthy_cell()
    one = state.replicas["replica-0"]
    if wanted == "partitioned":
        one.partitioned = True
    else:
        one.process = wanted
    return state


@each_kind
def test_the_states_before_are_those_in_which_it_is_possible(kind: EventKind) -> None:
    if kind.aim != "replicas":
        assert kind.before == ANY_STATE or kind.takes_node
        return
    possible = []
    for state in ANY_STATE:
        try:
            carry_out(kind, in_state(state), target="replica-0")
        except ImpossibleError:
            continue
        possible.append(state)
    assert set(kind.before) == set(possible)


@each_kind
def test_a_node_must_run_to_be_ended_and_not_run_to_be_started(kind: EventKind) -> None:
    if not kind.takes_node:
        return
    for process in ("running", "ended"):
        state = healthy_cell()
        state.nodes["envoy-1"] = process
        assert does_something(kind, state, node="envoy-1") == (process in kind.before)


@each_kind
def test_the_state_after_is_the_one_that_its_targets_are_in(kind: EventKind) -> None:
    changed = set()
    for state in situations():
        try:
            outcome = carry_out(kind, state)
        except ImpossibleError:
            continue
        for name in outcome.targets:
            known = name in state.replicas or kind.takes_node
            if known and len({before.state_of(name) for before in outcome.history}) > 1:
                changed.add(outcome.fleet.state.state_of(name))
    assert changed == ({kind.after} if kind.after else set())


@each_kind
def test_it_takes_replicas_from_sessions_or_brings_them(kind: EventKind) -> None:
    outcome = outcome_of(kind)
    parts = [[state.takes_part(name) for state in outcome.history] for name in outcome.targets]
    found = {(part[0], all(part[1:-1]), part[-1]) for part in parts}
    if kind.aim == "proxy":
        assert kind.membership == "unchanged"
    elif kind.membership == "removes":
        assert {(before, after) for before, _, after in found} == {(True, False)}
    elif kind.membership == "returns":
        assert {(before, after) for before, _, after in found} == {(False, True)}
    else:
        assert found == {(True, kind.membership == "unchanged", True)}


@each_kind
def test_it_breaks_calls_where_processes_end_freeze_or_are_cut_off(kind: EventKind) -> None:
    broken = outcome_of(kind).done("kill", "stop", "pause", "partition", "stop_proxy", "kill_proxy")
    assert kind.breaks_calls == broken


@each_kind
def test_it_changes_the_list_of_endpoints_or_their_weights(kind: EventKind) -> None:
    outcome = outcome_of(kind)
    history = [state.endpoints for state in outcome.history]
    lists = [{name: replace(one, weight=None) for name, one in found.items()} for found in history]
    weights = [[one.weight for one in found.values()] for found in history]
    if any(found != lists[0] for found in lists):
        assert kind.endpoints == "members"
    else:
        assert kind.endpoints == ("weights" if any(found != weights[0] for found in weights) else None)


@each_kind
def test_what_is_told_is_what_happens(kind: EventKind) -> None:
    outcome, words = outcome_of(kind), kind.notification
    assert ("health service" in words) == outcome.done("serve", "stop")
    assert ("GOAWAY" in words) == outcome.done("stop", "stop_proxy")
    assert ("broken connections" in words) == outcome.done("kill", "stop_proxy", "kill_proxy")
    assert ("name server" in words) == outcome.done("name_nodes")
    told = ("serve", "stop", "stop_proxy", "kill", "publish", "start", "resume", "rejoin", "name_nodes")
    silent = not outcome.done(*told)
    assert ("nobody is told" in words) == silent
    assert bool(words) or kind.endpoints


@each_kind
def test_its_targets_are_dealt_with_in_turns_or_together(kind: EventKind) -> None:
    if kind.membership in ("unchanged", "returns"):
        assert not kind.in_turns
        return
    history = outcome_of(kind, target="all").history
    away = [sum(not state.takes_part(name) for name in state.replicas) for state in history]
    assert kind.in_turns == (max(away) == 1)


@each_kind
def test_only_what_is_over_by_itself_leaves_the_cell_as_it_was(kind: EventKind) -> None:
    outcome = outcome_of(kind)
    assert kind.temporary == (outcome.fleet.state == outcome.history[0])


@each_kind
def test_its_opposite_brings_the_cell_back(kind: EventKind) -> None:
    """For kinds that change a healthy cell for good."""
    healthy = healthy_cell()
    try:
        after = carry_out(kind, healthy).fleet.state
    except ImpossibleError:
        after = healthy
    if after == healthy:
        assert kind.opposite is None
        return
    back = [other.name for other in KINDS if _ends_as(other, after, healthy)]
    assert kind.opposite in (back or [None])


def _ends_as(kind: EventKind, before: State, expected: State) -> bool:
    target = {} if kind.aim == "proxy" else {"target": "replica-0"}
    try:
        return carry_out(kind, before, **target).fleet.state == expected
    except ImpossibleError:
        return False


@each_kind
def test_it_needs_containers_where_processes_cannot_do_it(kind: EventKind) -> None:
    def can(state: State) -> bool:
        try:
            carry_out(kind, state, containers=False)
        except (ImpossibleError, AssertionError):
            return False
        return True

    assert kind.needs_containers == (not any(can(state) for state in situations()))


@each_kind
def test_it_is_about_the_proxy_or_replicas(kind: EventKind) -> None:
    outcome = outcome_of(kind)
    assert (kind.aim == "proxy") == any(is_proxy(part) for _, part in outcome.fleet.done)
    assert (kind.aim == "new replicas") == (len(outcome.fleet.state.replicas) > len(healthy_cell().replicas))


def effect_of(kind: EventKind, state: State, **keys: object) -> object:
    """Return everything that depends on the event's keys."""
    try:
        outcome = carry_out(kind, state, **keys)
    except ImpossibleError:
        return None
    event = Event.model_validate({"at_s": 1.0, "do": kind.name, **kind.example, **keys})
    planned = planned_events([event])
    kept = [delays_kept_by(part, planned) for part in ("replica", "proxy")]
    return outcome.fleet.state, outcome.fleet.done, outcome.context.waited, kept


def possible_situation(kind: EventKind) -> State:
    """Return the first situation in which the kind has an effect."""
    return outcome_of(kind).before


@each_kind
def test_it_takes_the_keys_that_make_a_difference(kind: EventKind) -> None:
    state = possible_situation(kind)
    effect = effect_of(kind, state)
    taken = {key for key in OWN_KEYS if effect_of(kind, state, **{key: OTHER[key]}) != effect}
    assert set(kind.keys) == taken


@each_kind
def test_it_requires_the_keys_without_which_it_does_nothing(kind: EventKind) -> None:
    state = possible_situation(kind)
    optional = [key for key in kind.keys if not isinstance(OTHER[key], bool)]
    needed = {key for key in optional if not changes(carry_out(kind, state, **{key: None}))}
    assert set(kind.required) == needed


@each_kind
def test_a_part_keeps_the_delay_where_nobody_else_waits_for_it_to_end(kind: EventKind) -> None:
    outcome = outcome_of(kind)
    if "delay_s" not in kind.keys:
        assert kind.delay_kept_by is None
    elif outcome.done("drain_listeners"):
        assert kind.delay_kept_by == "proxy"
    else:
        assert kind.delay_kept_by == (None if outcome.context.waited else "replica")


@each_kind
def test_the_step_that_is_drawn_tells_of_turns_or_of_the_end(kind: EventKind) -> None:
    steps = outcome_of(kind).steps()
    if kind.in_turns:
        assert kind.drawn_step == steps[0]
    else:
        assert kind.drawn_step == (steps[-1] if len(set(steps)) > 1 else None)


@each_kind
def test_what_ends_without_warning_may_lack_rows_of_its_ledger(kind: EventKind) -> None:
    outcome = outcome_of(kind)
    expected = {part for what, part in outcome.fleet.done if what in ("kill", "stop_proxy", "kill_proxy")}
    assert outcome.context.incomplete_ledgers == expected


@each_kind
def test_every_target_is_seen_to_have_been_reached(kind: EventKind) -> None:
    outcome = outcome_of(kind)
    seen = {details["target"] for event, details in outcome.context.lines if event == "took_effect"}
    assert seen == set(outcome.targets)


def test_the_name_server_names_the_nodes_that_run() -> None:
    state = carry_out(EVENT_KINDS["proxy_kill"], healthy_cell()).fleet.state
    assert (state.nodes, state.named) == ({"envoy-0": "running", "envoy-1": "ended"}, ["envoy-0"])
    outcome = carry_out(EVENT_KINDS["proxy_start"], state)
    assert outcome.fleet.state == healthy_cell()
    assert [part for part, _ in outcome.fleet.done] == ["start_proxy", "name_nodes"]
    seen = [details["seen"] for event, details in outcome.context.lines if event == "took_effect"]
    assert seen == ["process ready", "Envoy: as planned", "name server: named"]
    assert outcome.context.confirmed == ["envoy-1"]


def test_new_nodes_are_confirmed_and_then_named() -> None:
    outcome = carry_out(EVENT_KINDS["proxy_add"], healthy_cell(), count=2)
    assert outcome.targets == outcome.context.confirmed == ["envoy-2", "envoy-3"]
    assert outcome.fleet.state.named == ["envoy-0", "envoy-1", "envoy-2", "envoy-3"]
    done = [part for part, _ in outcome.fleet.done]
    assert done == ["start_proxy", "start_proxy", "name_nodes", "name_nodes"]


@pytest.mark.parametrize("name", ["proxy_restart", "proxy_drain"])
def test_one_node_alone_can_be_restarted(name: str) -> None:
    outcome = carry_out(EVENT_KINDS[name], healthy_cell(), node="envoy-1")
    restarted = [part for what, part in outcome.fleet.done if what in ("stop_proxy", "start_proxy")]
    assert restarted == ["envoy-1", "envoy-1"]


def test_a_node_that_is_not_as_planned_ends_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    def differ(_context: ModelContext, node: str) -> None:
        raise LabError(f"{node} is not as planned")

    monkeypatch.setattr(ModelContext, "confirm_node", differ)
    monkeypatch.setattr(nodes, "CONFIRMED_WITHIN_S", 0.0)
    with pytest.raises(LabError, match="envoy-2 is not as planned"):
        carry_out(EVENT_KINDS["proxy_add"], healthy_cell())


def test_a_replica_that_comes_back_has_the_weight_that_it_had() -> None:
    state = carry_out(EVENT_KINDS["weight"], healthy_cell(), weight=5).fleet.state
    state = carry_out(EVENT_KINDS["kill"], state).fleet.state
    state = carry_out(EVENT_KINDS["start"], state).fleet.state
    assert state.endpoints["replica-0"] == Endpoint("host:replica-0", weight=5)


def test_a_roll_starts_a_replica_that_has_ended() -> None:
    after = carry_out(EVENT_KINDS["roll"], in_state("ended"))
    assert after.fleet.state == healthy_cell()
    assert after.steps() == ["start", "drain", "stop", "start"]
