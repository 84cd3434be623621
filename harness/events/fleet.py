"""The interfaces through which events act on the replicas and the proxy of a cell."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

PROXY = "envoy"  # the name of the proxy


@dataclass(frozen=True)
class Endpoint:
    """One replica at "host:port". `draining`: no new sessions; `weight`: None for the policy's weight."""

    address: str
    draining: bool = False
    weight: int | None = None


class Fleet(Protocol):
    """Controls the replicas and the proxy of a running cell. No method waits.

    `name` is the name of a replica. Methods raise LabError when the fork server or Docker has died.
    """

    def kill(self, name: str) -> None:
        """End the replica at once, like a crash."""

    def stop(self, name: str) -> None:
        """Ask the replica to end gracefully."""

    def pause(self, name: str) -> None:
        """Pause the replica: it keeps its connections but does not answer."""

    def resume(self, name: str) -> None:
        """Resume a paused replica."""

    def start(self, name: str) -> None:
        """Start a replica that has ended, at its old address."""

    def start_new(self) -> str:
        """Start one more replica and return its name."""

    def running(self, name: str) -> bool:
        """Return whether the replica's process exists, paused or not."""

    def ready(self, name: str) -> bool:
        """Return whether the replica serves. If it does, LiveCell's replicas and controls contain it."""

    def publish(self, endpoints: dict[str, Endpoint]) -> None:
        """Give the current endpoints to the proxy and to the name server, if the cell has them."""

    def stop_proxy(self) -> None:
        """Ask the proxy to end."""

    def start_proxy(self) -> None:
        """Start the proxy again, at its old address."""

    def proxy_running(self) -> bool:
        """Return whether the proxy's process exists."""

    def proxy_ready(self) -> bool:
        """Return whether the proxy answers. If it does, LiveCell.envoy is its admin interface."""


@runtime_checkable
class ContainerFleet(Fleet, Protocol):
    """A fleet of containers, which has more controls. Methods raise LabError when the engine refuses."""

    def partition(self, name: str) -> None:
        """Disconnect the replica from the network: packets to it get no answer."""

    def rejoin(self, name: str) -> None:
        """Connect the replica to the network again, at its old address."""

    def limit_cpu(self, name: str, cores: float | None) -> None:
        """Limit the replica to that many CPU cores; None: no limit."""


class ProxyAdmin(Protocol):
    """The admin interface of the running proxy. Raises LabError when the proxy does not answer."""

    def post(self, path: str) -> str:
        """Make a POST request, which changes something, and return the body of the answer."""

    def endpoint_weights(self) -> Mapping[str, Mapping[str, int]]:
        """Return cluster -> address -> the weight in force."""
