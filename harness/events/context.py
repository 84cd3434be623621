"""The interfaces through which the actions of events reach the parts of one cell: Fleet and EventContext."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from harness.events.keys import PlannedEvent


@dataclass(frozen=True)
class Endpoint:
    """One replica at "host:port". `draining`: no new sessions; `weight`: None for the policy's weight."""

    address: str
    draining: bool = False
    weight: int | None = None


class Fleet(Protocol):
    """Controls the replicas and the proxy of a running cell. No method waits.

    `name`: of a replica; `node`: of a node of the proxy. Methods raise LabError when the fork server or
    Docker has died.
    """

    def kill(self, name: str) -> None: ...  # the replica ends at once, like a crash
    def stop(self, name: str) -> None: ...  # it is asked to end gracefully
    def pause(self, name: str) -> None: ...  # it keeps its connections but does not answer
    def resume(self, name: str) -> None: ...  # it goes on after a pause
    def start(self, name: str) -> None: ...  # a replica that has ended starts at its old address
    def start_new(self) -> str: ...  # one more replica starts; its name
    def running(self, name: str) -> bool: ...  # whether its process exists, paused or not
    def ready(self, name: str) -> bool: ...  # whether it serves, and LiveCell's replicas and controls have it
    def publish(self, endpoints: dict[str, Endpoint]) -> None: ...  # to proxy, name server, control plane
    def accepted(self) -> bool | None: ...  # whether all clients have the endpoints; None: none is told
    def stop_proxy(self, node: str) -> None: ...  # the node of the proxy is asked to end
    def kill_proxy(self, node: str) -> None: ...  # it ends at once; LiveCell.admins no longer has it
    def start_proxy(self, node: str) -> None: ...  # it starts again at its old address
    def start_new_proxy(self) -> str: ...  # one more node of the proxy starts; its name
    def proxy_running(self, node: str) -> bool: ...  # whether its process exists
    def proxy_ready(self, node: str) -> bool: ...  # whether it answers, and LiveCell.admins has it
    def name_nodes(self, nodes: Collection[str]) -> bool: ...  # to the name server; whether there is one


@runtime_checkable
class ContainerFleet(Fleet, Protocol):
    """A fleet of containers, which has more controls. Methods raise LabError when the engine refuses."""

    def partition(self, name: str) -> None: ...  # off the network: packets to it get no answer
    def rejoin(self, name: str) -> None: ...  # on the network again, at its old address
    def limit_cpu(self, name: str, cores: float | None) -> None: ...  # CPU cores; None: no limit


class ProxyAdmin(Protocol):
    """The admin interface of the running proxy. Raises LabError when the proxy does not answer."""

    def post(self, path: str) -> str: ...  # a POST request, which changes something; the answer's body
    def live(self) -> bool: ...  # whether it accepts the clients' connections
    def endpoint_weights(self) -> Mapping[str, Mapping[str, int]]: ...  # cluster -> address -> weight


# What an action does, a step at a time: it yields while it waits, and is called again soon.
Steps = Generator[None, None, None]
Look = Callable[[str], bool]  # whether something is so of the replica of that name

# States of an endpoint in the proxy.
ABSENT = "absent"
HEALTHY = "healthy"
DRAINING = "draining"
NO_LONGER_USED = ("unhealthy", "ejected")


class Answer(Protocol):
    """A replica's answer to a request of the lab, which may still be under way."""

    def done(self) -> bool: ...  # whether it has come
    def code(self) -> Any: ...  # the gRPC status code
    def details(self) -> Any: ...  # what the replica says of an error


class EventContext(ABC):
    """One cell while it is measured, as actions see it."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self.addresses = addresses  # replica -> "host:port", of all that have served so far
        # What proxy and name server are given.
        self.endpoints = {name: Endpoint(address) for name, address in addresses.items()}
        self.states: dict[str, str] = {}  # replica -> what all proxy nodes last said of its endpoint
        # Parts that ended without warning: their ledgers may lack the last rows.
        self.incomplete_ledgers: set[str] = set()
        self._withdrawn: dict[str, Endpoint] = {}
        self._last_event: dict[str, int] = {}

    @property
    @abstractmethod
    def fleet(self) -> Fleet:
        """The replicas and the proxy."""

    @property
    @abstractmethod
    def proxies(self) -> Mapping[str, ProxyAdmin]:
        """Each node of the proxy that is not killed -> its admin interface; {} on a direct route."""

    @abstractmethod
    def controllable(self, name: str) -> bool:
        """Return whether the replica has served, so that `behave` and `serve` can reach it."""

    @abstractmethod
    def behave(self, name: str, settings: Mapping[str, Any]) -> Answer:
        """Ask the replica to put the settings (fields of LabControl's Behaviour) in force."""

    @abstractmethod
    def serve(self, name: str, serving: bool) -> Answer:
        """Ask the replica to have its health service say SERVING, or NOT_SERVING."""

    @abstractmethod
    def settings_at_start(self, name: str) -> Mapping[str, Any]:
        """Return field of LabControl's Behaviour -> the replica's value when the cell began."""

    @abstractmethod
    def confirm_node(self, node: str) -> None:
        """Check that a node of the proxy that has just started is as planned, with the endpoints of now.

        Raises LabError that names the first difference.
        """

    def concerns(self, planned: PlannedEvent, targets: Iterable[str]) -> None:
        """Make these targets this event's; earlier events stop waiting for them."""
        self._last_event |= dict.fromkeys(targets, planned.number)

    @abstractmethod
    def seen(self, planned: PlannedEvent, target: str, what: str) -> None:
        """Record that the event has taken effect, and where that was seen."""

    @abstractmethod
    def step(self, planned: PlannedEvent, do: str, target: str) -> None:
        """Record one step of a longer event."""

    def change(
        self, planned: PlannedEvent, targets: Iterable[str], action: Callable[[str], None], what: str
    ) -> None:
        """Do something to each target that takes effect at once, and record that."""
        for name in targets:
            action(name)
            self.seen(planned, name, what)

    def publish(self) -> None:
        """Give proxy and name server the endpoints as they are now."""
        self.fleet.publish(self.endpoints)

    def withdraw(self, targets: Sequence[str]) -> None:
        """Publish the endpoints without the targets'."""
        for name in targets:
            if name in self.endpoints:
                self._withdrawn[name] = self.endpoints.pop(name)
        self.publish()

    def publish_as_new(self, targets: Sequence[str]) -> None:
        """Publish the targets' endpoints as healthy; each keeps the weight that it had."""
        for name in targets:
            before = self.endpoints.get(name) or self._withdrawn.get(name)
            self.endpoints[name] = Endpoint(self.addresses[name], weight=before.weight if before else None)
        self.publish()

    def until(self, look: Callable[[], bool]) -> Steps:
        """Wait until `look` returns True; a cell that ends meanwhile ends the waiting."""
        while not look():
            yield

    def wait(self, seconds: float) -> Steps:
        """Wait for a time."""
        end_s = time.monotonic() + seconds
        yield from self.until(lambda: time.monotonic() >= end_s)

    def until_each(
        self, planned: PlannedEvent, targets: Iterable[str], look: Look, what: str, waits: Look | None = None
    ) -> Generator[None, None, list[str]]:
        """Wait until `look` is True of each target, record each, and return those of which it became True.

        A target is given up when `waits` is False of it; by default when a later event concerns it.
        """
        waits = waits or (lambda name: self._last_event.get(name) == planned.number)
        left, reached = list(targets), []
        while left := [name for name in left if waits(name)]:
            for name in filter(look, left):
                self.seen(planned, name, what)
                reached.append(name)
            left = [name for name in left if name not in reached]
            if left:
                yield
        return reached

    def until_ended(self, planned: PlannedEvent, targets: Iterable[str]) -> Steps:
        """Wait until the process of each target has ended."""
        yield from self.until_each(planned, targets, lambda one: not self.fleet.running(one), "process ended")

    def until_listed(self, planned: PlannedEvent, targets: Sequence[str], state: str) -> Steps:
        """Wait until those who follow the list of endpoints have taken it over.

        Proxy: it has each target in `state`. Control plane: all clients have accepted the endpoints.
        """
        if self.fleet.accepted() is not None:
            accepted = "clients: endpoints accepted"
            yield from self.until_each(planned, targets, lambda _: bool(self.fleet.accepted()), accepted)
        yield from self.until_proxy_sees(planned, targets, state)

    def until_proxy_sees(self, planned: PlannedEvent, targets: Iterable[str], *states: str) -> Steps:
        """Wait until the proxy has each target in one of `states`; not at all where there is no proxy."""
        if self.proxies:
            seen = f"Envoy: {' or '.join(states)}"
            yield from self.until_each(planned, targets, lambda name: self.states.get(name) in states, seen)
