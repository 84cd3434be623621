"""The interfaces through which events reach the running parts of a cell. Testbeds implement them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

PROXY = "envoy"  # the proxy's name among the parts


@dataclass(frozen=True)
class Endpoint:
    """One replica at "host:port". `draining`: no new sessions; `weight`: None for the one of the policy."""

    address: str
    draining: bool = False
    weight: int | None = None


class Fleet(Protocol):
    """The replicas and the proxy of a running cell, and what can be done to them. Nothing here waits.

    Names are replicas'. Raises LabError when the machinery itself has died.
    """

    def kill(self, name: str) -> None:
        """End it at once, as a crash does."""
        ...

    def stop(self, name: str) -> None:
        """Ask it to end gracefully."""
        ...

    def pause(self, name: str) -> None:
        """Freeze it: it keeps its connections and answers nothing."""
        ...

    def resume(self, name: str) -> None:
        """Let it go on where it was frozen."""
        ...

    def start(self, name: str) -> None:
        """Start one that has ended, at its address."""
        ...

    def start_new(self) -> str:
        """Start one more; its name."""
        ...

    def running(self, name: str) -> bool:
        """Whether its process is there, frozen or not."""
        ...

    def ready(self, name: str) -> bool:
        """Whether it serves. From the first time on it is in LiveCell's replicas and controls."""
        ...

    def publish(self, endpoints: dict[str, Endpoint]) -> None:
        """Give proxy and name server, where there are such, the endpoints as they are now."""
        ...

    def stop_proxy(self) -> None:
        """Ask the proxy to end."""
        ...

    def start_proxy(self) -> None:
        """Start the proxy anew, at its address."""
        ...

    def proxy_running(self) -> bool:
        """Whether its process is there."""
        ...

    def proxy_ready(self) -> bool:
        """Whether it answers. LiveCell.envoy is the one that does."""
        ...


@runtime_checkable
class ContainerFleet(Fleet, Protocol):
    """A fleet of containers, and what else can be done to these. Raises LabError when the engine refuses."""

    def partition(self, name: str) -> None:
        """Take it off the network: packets to it get no answer."""
        ...

    def rejoin(self, name: str) -> None:
        """Put it back on the network, at its address."""
        ...

    def limit_cpu(self, name: str, cores: float | None) -> None:
        """Let it use so many CPU cores at most; None: as many as there are."""
        ...


class ProxyAdmin(Protocol):
    """The admin interface of the running proxy. Raises LabError when the proxy does not answer."""

    def post(self, path: str) -> str:
        """Ask for a change; the body of the answer."""
        ...

    def endpoint_weights(self) -> Mapping[str, Mapping[str, int]]:
        """Cluster -> address -> the weight in force."""
        ...
