"""A model of a cell: only its state, on which event actions can be carried out at once.

It shows what an action does to the parts, and so which attributes its kind must have. That real parts do
the same is shown in tests/real/harness/test_event_kinds_played.py.
"""

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.events.context import Endpoint, EventContext, Steps
from harness.events.keys import PlannedEvent
from harness.events.kind import EventKind
from harness.events.schedule import Event, starts_new, starts_nodes
from harness.fields import is_proxy, proxy_names

NODES = proxy_names(2)
PATIENCE = 20  # how often it checks what an action waits for
AT_START = {"slow_factor": 1.0, "slow_share": 1.0, "fail_share": 0.0, "fail_code": "UNAVAILABLE"}
AT_START |= {"fail_after_headers": False, "fail_after_work": False}


class ImpossibleError(Exception):
    """A replica in this state does not allow that operation."""


@dataclass
class Replica:
    """The state of one replica."""

    process: str = "running"
    ready: bool = True
    serving: bool = True
    partitioned: bool = False
    cores: float | None = None
    settings: dict[str, Any] = field(default_factory=lambda: dict(AT_START))

    @property
    def state(self) -> str:
        """The state's name in the checks of a timeline."""
        return "partitioned" if self.partitioned and self.process == "running" else self.process


@dataclass
class State:
    """The state of the cell. nodes: of the proxy; named: those that the name server names."""

    replicas: dict[str, Replica]
    endpoints: dict[str, Endpoint]
    nodes: dict[str, str] = field(default_factory=lambda: dict.fromkeys(NODES, "running"))
    named: list[str] = field(default_factory=lambda: list(NODES))

    def state_of(self, part: str) -> str:
        """The state of a replica or node."""
        return self.nodes[part] if is_proxy(part) else self.replicas[part].state

    def takes_part(self, name: str) -> bool:
        """Whether sessions can be on the replica."""
        one, endpoint = self.replicas.get(name), self.endpoints.get(name)
        there = endpoint is not None and not endpoint.draining
        return there and one is not None and one.state == "running" and one.ready and one.serving


class ModelFleet:
    """Changes the state; `done`: (what, which part) in order, `history`: the state after each."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.done: list[tuple[str, str]] = []
        self.history = [copy.deepcopy(state)]

    def did(self, what: str, part: str = "") -> None:
        self.done.append((what, part))
        self.history.append(copy.deepcopy(self.state))

    def _become(self, what: str, name: str, process: str, possible: Sequence[str]) -> None:
        one = self.state.replicas[name]
        if one.process not in possible:
            raise ImpossibleError(f"{what} {name}, which is {one.process}")
        one.process = process
        self.did(what, name)

    def kill(self, name: str) -> None:
        self._become("kill", name, "ended", ("running", "paused"))

    def stop(self, name: str) -> None:
        self._become("stop", name, "ended", ("running", "paused"))

    def pause(self, name: str) -> None:
        self._become("pause", name, "paused", ("running", "paused"))

    def resume(self, name: str) -> None:
        self._become("resume", name, "running", ("paused",))

    def start(self, name: str) -> None:
        self.state.replicas[name] = replace(self.state.replicas[name], process="ended")
        self._become("start", name, "running", ("ended",))
        self.state.replicas[name] = Replica(ready=False, cores=self.state.replicas[name].cores)

    def start_new(self) -> str:
        name = f"replica-{len(self.state.replicas)}"
        self.state.replicas[name] = Replica(ready=False)
        self.did("start", name)
        return name

    def running(self, name: str) -> bool:
        return self.state.replicas[name].process != "ended"

    def ready(self, name: str) -> bool:
        self.state.replicas[name].ready = True
        return True

    def publish(self, endpoints: dict[str, Endpoint]) -> None:
        assert endpoints is self.state.endpoints
        self.did("publish")

    def accepted(self) -> bool | None:
        return None

    def stop_proxy(self, node: str) -> None:
        self._end_proxy("stop_proxy", node)

    def kill_proxy(self, node: str) -> None:
        self._end_proxy("kill_proxy", node)

    def _end_proxy(self, what: str, node: str) -> None:
        if self.state.nodes[node] == "ended":
            raise ImpossibleError(f"{what} {node}, which has ended")
        self.state.nodes[node] = "ended"
        self.did(what, node)

    def start_proxy(self, node: str) -> None:
        assert self.state.nodes[node] == "ended"
        self.state.nodes[node] = "running"
        self.did("start_proxy", node)

    def start_new_proxy(self) -> str:
        node = f"envoy-{len(self.state.nodes)}"
        self.state.nodes[node] = "running"
        self.did("start_proxy", node)
        return node

    def name_nodes(self, nodes: Collection[str]) -> bool:
        self.state.named = [node for node in self.state.nodes if node in nodes]
        self.did("name_nodes")
        return True

    def proxy_running(self, node: str) -> bool:
        return self.state.nodes[node] == "running"

    def proxy_ready(self, node: str) -> bool:
        return self.proxy_running(node)


class ModelContainerFleet(ModelFleet):
    """The same for containers."""

    def partition(self, name: str) -> None:
        if not self.running(name):
            raise ImpossibleError("a container that has ended is on no network")
        self.state.replicas[name].partitioned = True
        self.did("partition", name)

    def rejoin(self, name: str) -> None:
        if not self.state.replicas[name].partitioned:
            raise ImpossibleError("it is on the network")
        self.state.replicas[name].partitioned = False
        self.did("rejoin", name)

    def limit_cpu(self, name: str, cores: float | None) -> None:
        self.state.replicas[name].cores = cores
        self.did("limit_cpu", name)


class Answered:
    """An answer that has arrived."""

    def done(self) -> bool:
        return True

    def code(self) -> Any:
        return type("Code", (), {"name": "OK"})

    def details(self) -> str:
        return ""


class ModelContext(EventContext):
    """The context of a model cell. `lines`: what was recorded."""

    def __init__(self, fleet: ModelFleet) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []
        self.waited: list[float] = []
        self.confirmed: list[str] = []
        super().__init__({})
        self._fleet = fleet
        self.addresses = {name: f"host:{name}" for name in [*fleet.state.replicas, "replica-2", "replica-3"]}
        self.endpoints = fleet.state.endpoints

    @property
    def fleet(self) -> ModelFleet:
        return self._fleet

    def seen(self, planned: PlannedEvent, target: str, what: str) -> None:
        self.lines.append(("took_effect", {"number": planned.number, "target": target, "seen": what}))

    def step(self, planned: PlannedEvent, do: str, target: str) -> None:
        self.lines.append(("step", {"number": planned.number, "do": do, "target": target}))

    @property
    def proxies(self) -> dict[str, "ModelContext"]:
        return {node: self for node, state in self._fleet.state.nodes.items() if state == "running"}

    def post(self, path: str) -> str:
        self._fleet.did(path.strip("/").partition("?")[0], NODES[0])
        return ""

    def live(self) -> bool:
        return True

    def endpoint_weights(self) -> Mapping[str, Mapping[str, int]]:
        return {"videos": {one.address: one.weight or 1 for one in self.endpoints.values()}}

    def controllable(self, name: str) -> bool:
        return self._fleet.state.replicas[name].ready

    def behave(self, name: str, settings: Mapping[str, Any]) -> Answered:
        given = {key: value for key, value in settings.items() if value is not None}
        assert given.keys() <= AT_START.keys()
        self._fleet.state.replicas[name].settings |= given
        self._fleet.did("behave", name)
        return Answered()

    def serve(self, name: str, serving: bool) -> Answered:
        self._fleet.state.replicas[name].serving = serving
        self._fleet.did("serve", name)
        return Answered()

    def confirm_node(self, node: str) -> None:
        self.confirmed.append(node)

    def settings_at_start(self, name: str) -> Mapping[str, Any]:
        return AT_START

    def wait(self, seconds: float) -> Steps:
        self.waited.append(seconds)
        self._fleet.did("wait")
        yield from ()

    def until(self, look: Callable[[], bool]) -> Steps:
        self._look()
        yield from super().until(look)

    def until_proxy_sees(self, planned: PlannedEvent, targets: Any, *states: str) -> Steps:
        self._look()
        yield from super().until_proxy_sees(planned, targets, *states)

    def _look(self) -> None:
        for name in self._fleet.state.replicas:
            endpoint = self.endpoints.get(name)
            if endpoint is None or endpoint.draining:
                self.states[name] = "absent" if endpoint is None else "draining"
            else:
                self.states[name] = "healthy" if self._fleet.state.takes_part(name) else "unhealthy"


@dataclass
class Outcome:
    """The outcome of one event."""

    before: State
    targets: list[str]
    fleet: ModelFleet
    context: ModelContext

    @property
    def history(self) -> list[State]:
        """The state before, after each thing that was done, and in the end."""
        return [*self.fleet.history, self.fleet.state]

    def done(self, *what: str) -> bool:
        """Whether any of these was done to any part."""
        return any(one in what for one, _ in self.fleet.done)

    def steps(self) -> list[str]:
        """What the steps are called, in order."""
        return [str(details["do"]) for event, details in self.context.lines if event == "step"]


def healthy_cell() -> State:
    """Two replicas that take part, and a proxy of two nodes."""
    names = ("replica-0", "replica-1")
    return State({name: Replica() for name in names}, {name: Endpoint(f"host:{name}") for name in names})


def carry_out(kind: EventKind, before: State, *, containers: bool = True, **keys: object) -> Outcome:
    """Carry out the kind's example, with these keys, on a copy of the state. Raises ImpossibleError."""
    event = Event.model_validate({"at_s": 1.0, "do": kind.name, **kind.example, **keys})
    state = copy.deepcopy(before)
    fleet = ModelContainerFleet(state) if containers else ModelFleet(state)
    context = ModelContext(fleet)
    targets = _targets(kind, event, fleet)
    planned = PlannedEvent(1, 0, event)
    context.concerns(planned, targets)
    steps = kind.action(context, planned, targets)
    for _ in range(PATIENCE):
        if next(steps, "done") == "done":
            return Outcome(before, targets, fleet, context)
    if fleet.done:  # it waits for something that never happens in that state
        return Outcome(before, targets, fleet, context)
    raise ImpossibleError("it waits for ever")


def _targets(kind: EventKind, event: Event, fleet: ModelFleet) -> list[str]:
    if kind.aim == "proxy":
        return _nodes(kind, event, fleet)
    if new := starts_new(event):
        return [fleet.start_new() for _ in range(new)]
    return list(fleet.state.replicas) if event.target == "all" else [str(event.target)]


def _nodes(kind: EventKind, event: Event, fleet: ModelFleet) -> list[str]:
    if new := starts_nodes(event):
        return [fleet.start_new_proxy() for _ in range(new)]
    if event.node is not None and kind.takes_node:
        return [event.node]
    return [] if "node" in kind.required else list(NODES)
