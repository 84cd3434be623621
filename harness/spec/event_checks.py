"""Checks of the events of an arm: keys without effect, impossible targets, times and states."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.errors import did_you_mean
from harness.events.keys import OWN_KEYS, PlannedEvent
from harness.events.kind import NOT_ENDED, EventKind
from harness.events.registry import EVENT_KINDS, kind_of
from harness.events.schedule import Event, new_nodes, planned_events, starts_new, starts_nodes
from harness.fields import PROXIED, Route, proxy_names
from harness.spec.arm import MAX_PROXIES
from harness.spec.problems import Problem
from harness.spec.yaml_file import Where, dotted


@dataclass(frozen=True)
class Timeline:
    """The events of one arm, and what their checks need.

    where: path of the list of events in the file. replicas: names of the replicas at the start.
    ends_s: when measuring ends. route: of the arm. nodes: names of its proxy's nodes.
    """

    events: Sequence[Event]
    where: Where
    replicas: Sequence[str]
    ends_s: float
    route: Route
    nodes: Sequence[str]

    @property
    def all_nodes(self) -> Sequence[str]:
        """Names of its proxy's nodes, with those that events add. A single node gets no others."""
        count = len(self.nodes)
        return proxy_names(count + new_nodes(self.events)) if count > 1 else self.nodes


def event_problems(timeline: Timeline) -> Iterator[Problem]:
    """Yield every problem of the events of an arm."""
    found = [
        problem
        for index, event in enumerate(timeline.events)
        for problem in _event_problems(timeline, (*timeline.where, index), event)
    ]
    yield from found
    if not found:
        yield from _state_problems(timeline)


def _event_problems(timeline: Timeline, where: Where, event: Event) -> Iterator[Problem]:
    kind = kind_of(event.do)
    for key in OWN_KEYS:
        given = getattr(event, key) != type(event).model_fields[key].default
        if given and key not in kind.keys:
            fits = " or ".join(f"'{other.name}'" for other in EVENT_KINDS.values() if key in other.keys)
            yield _problem((*where, key), f"changes nothing with do: {event.do}; expected it with {fits}")
    for key in kind.required:
        if getattr(event, key) is None:
            yield _problem(where, f"do: {event.do} needs {key}")
    if event.for_s is not None and kind.opposite is None:
        undone = ", ".join(other.name for other in EVENT_KINDS.values() if other.opposite)
        yield _problem((*where, "for_s"), f"do: {event.do} has no opposite; expected it with {undone}")
    yield from _target_problems(where, event, kind)
    if kind.aim == "proxy" and timeline.route not in PROXIED:
        yield _problem(
            (*where, "do"), f"{event.do}: route '{timeline.route}' has no proxy; expected events: of that arm"
        )
    elif event.node is not None and kind.takes_node:
        yield from _name_problems((*where, "node"), event.node, timeline.all_nodes)
    elif kind.new_nodes:
        yield from _new_node_problems(timeline, where, event)
    yield from _time_problems(timeline.ends_s, where, event)


def _name_problems(where: Where, node: str, nodes: Sequence[str]) -> Iterator[Problem]:
    if node not in nodes:
        hint = did_you_mean(node, list(nodes)) or f"; expected {', '.join(nodes)}"
        yield _problem(where, f"'{node}': the arm's proxy has no such node{hint}")


def _new_node_problems(timeline: Timeline, where: Where, event: Event) -> Iterator[Problem]:
    if len(timeline.nodes) == 1:
        wrong = "clients call a single node at its address and look up no name; expected proxies: 2 or more"
        yield _problem((*where, "do"), f"{event.do}: {wrong}")
    elif len(timeline.all_nodes) > MAX_PROXIES:
        wrong = f"the events make {len(timeline.all_nodes)} nodes in all; expected at most {MAX_PROXIES}"
        yield _problem((*where, "do"), f"{event.do}: {wrong}")


def _target_problems(where: Where, event: Event, kind: EventKind) -> Iterator[Problem]:
    if kind.aim == "proxy":
        if event.target is not None:
            yield _problem((*where, "target"), f"do: {event.do} acts on the proxy; leave it out")
    elif event.target is None and kind.aim != "new replicas":
        needed = "needs target: a replica's name, any, most_loaded, all or a share of the fleet"
        yield _problem(where, f"do: {event.do} {needed}")
    elif event.target is not None and event.count is not None and kind.aim == "new replicas":
        yield _problem((*where, "count"), "counts new replicas; expected it without target")


def _time_problems(ends_s: float, where: Where, event: Event) -> Iterator[Problem]:
    duration = ("workload", "duration_s")
    if event.at_s >= ends_s:
        wrong = f"{event.at_s:g}: measuring has ended at {ends_s:g} s; expected less"
        yield Problem(((*where, "at_s"), duration), f"{dotted((*where, 'at_s'))}: {wrong}")
    elif event.for_s is not None and event.at_s + event.for_s >= ends_s:
        wrong = f"{event.for_s:g}: the opposite would come after measuring has ended at {ends_s:g} s"
        message = f"{dotted((*where, 'for_s'))}: {wrong}; expected less, or leave it out"
        yield Problem(((*where, "for_s"), duration), message)


def _state_problems(timeline: Timeline) -> Iterator[Problem]:
    """Yield the problems of targets that do not exist then, or are in a state that the event does not allow.

    The check stops at the first event whose target chance or the load decides: the states after it are not
    known.
    """
    state = dict.fromkeys(timeline.replicas, "running")
    state_of_nodes = dict.fromkeys(timeline.nodes, "running")
    for planned in planned_events(timeline.events):
        event, kind = planned.event, kind_of(planned.event.do)
        if new := starts_new(event):
            first = len(state)
            state |= {f"replica-{first + number}": "running" for number in range(new)}
            continue
        if new := starts_nodes(event):
            state_of_nodes |= dict.fromkeys(timeline.all_nodes[len(state_of_nodes) :][:new], "running")
            continue
        if kind.aim == "proxy":
            yield from _node_problems((*timeline.where, planned.place), planned, state_of_nodes)
            continue
        if event.target in ("any", "most_loaded") or isinstance(event.target, float):
            return
        names = list(state) if event.target == "all" else [str(event.target)]
        for name in names if event.target is not None else []:
            where = (*timeline.where, planned.place)
            if name not in state:
                hint = did_you_mean(name, list(state)) or f"; expected replica-0 to replica-{len(state) - 1}"
                yield _problem((*where, "target"), f"'{name}': there is no such replica then{hint}")
                return
            if planned.undoes is None and state[name] not in kind.before:
                wrong = _wrong_state(name, state[name], kind)
                yield _problem((*where, "do"), f"do: {event.do} at {event.at_s:g} s: {wrong}")
            state[name] = kind.after or state[name]


def _node_problems(where: Where, planned: PlannedEvent, state: dict[str, str]) -> Iterator[Problem]:
    """Yield the problems of an event of the proxy, and change the `state` of the node that it is about."""
    event, kind = planned.event, kind_of(planned.event.do)
    at = f"do: {event.do} at {event.at_s:g} s"
    if event.node is None:
        if "running" not in state.values():
            yield _problem((*where, "do"), f"{at}: no node of the proxy runs then; start one first")
        return
    if event.node not in state:
        wrong = f"'{event.node}': the node is added later; expected {', '.join(state)}"
        yield _problem((*where, "node"), f"{at}: {wrong}")
        return
    if planned.undoes is None and state[event.node] not in kind.before:
        yield _problem((*where, "do"), f"{at}: {_wrong_state(event.node, state[event.node], kind)}")
    state[event.node] = kind.after or state[event.node]


def _wrong_state(name: str, state: str, kind: EventKind) -> str:
    if kind.before == NOT_ENDED:
        return f"{name} has ended before; start it first"
    return f"{name} is {state} then, expected {' or '.join(kind.before)}"


def _problem(path: Where, wrong: str) -> Problem:
    return Problem((path,), f"{dotted(path)}: {wrong}")
