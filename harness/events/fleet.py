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

    `name`: of a replica. Methods raise LabError when the fork server or Docker has died.
    """

    def kill(self, name: str) -> None: ...  # the replica ends at once, like a crash
    def stop(self, name: str) -> None: ...  # it is asked to end gracefully
    def pause(self, name: str) -> None: ...  # it keeps its connections but does not answer
    def resume(self, name: str) -> None: ...  # it goes on after a pause
    def start(self, name: str) -> None: ...  # a replica that has ended starts at its old address
    def start_new(self) -> str: ...  # one more replica starts; its name
    def running(self, name: str) -> bool: ...  # whether its process exists, paused or not
    def ready(self, name: str) -> bool: ...  # whether it serves, and LiveCell's replicas and controls have it
    def publish(self, endpoints: dict[str, Endpoint]) -> None: ...  # to proxy and name server, if any
    def stop_proxy(self) -> None: ...  # the proxy is asked to end
    def start_proxy(self) -> None: ...  # it starts again at its old address
    def proxy_running(self) -> bool: ...  # whether its process exists
    def proxy_ready(self) -> bool: ...  # whether it answers, and LiveCell.envoy is its admin interface


@runtime_checkable
class ContainerFleet(Fleet, Protocol):
    """A fleet of containers, which has more controls. Methods raise LabError when the engine refuses."""

    def partition(self, name: str) -> None: ...  # off the network: packets to it get no answer
    def rejoin(self, name: str) -> None: ...  # on the network again, at its old address
    def limit_cpu(self, name: str, cores: float | None) -> None: ...  # CPU cores; None: no limit


class ProxyAdmin(Protocol):
    """The admin interface of the running proxy. Raises LabError when the proxy does not answer."""

    def post(self, path: str) -> str: ...  # a POST request, which changes something; the answer's body
    def endpoint_weights(self) -> Mapping[str, Mapping[str, int]]: ...  # cluster -> address -> weight
