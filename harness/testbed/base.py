"""The interface of all testbeds, and the description of a running cell."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from harness.events.context import Fleet
from harness.fields import PROXY
from harness.plan.cells import CellPlan
from harness.proxy.admin import EnvoyAdmin
from harness.proxy.render import CLUSTER
from harness.record.cell_record import Party
from harness.spec.experiment import Experiment
from harness.testbed.processes import Process
from lb.target import XDS


@dataclass(frozen=True)
class ServiceCalls:
    """Calls of a service that is not the lab's, as lb.settings has them."""

    path: str
    streams: bool
    requests: Sequence[Sequence[str]]
    replica_key: str


@dataclass
class LiveCell:
    """The running components of one cell.

    replicas: name -> "host:port", or "" if the address is unknown; controls: name -> "host:port" of the
    service LabControl; replicas_tls: name -> "host:port" for TLS, empty without TLS. admins: node of
    the proxy -> its admin interface, empty where the lab has started none. Clients call the nodes at proxies
    (node -> "host:port"), in clear text and with TLS. pids: name -> process id on this machine, if
    known; paused: names of those that an event has stopped. name_server: "host:port" of the name server for
    discovery by DNS; "" for the one that the operating system uses. control_plane: "host:port" of what tells
    clients on route xds of policy and endpoints.

    started_by_lab: False on the testbed `external`. The other fields are for that testbed. missing_ledgers:
    the ledgers that it cannot read ("envoy", "replica") -> reason. tls: calls to the proxy use TLS;
    authority: PEM text of the trusted CA certificates, None: those that come with gRPC. key_prefix: begins
    the ids of the videos that clients add, because such replicas keep videos of earlier cells. trace_prefix:
    begins the ids by which the proxy's own log names the requests (lb.trace_id); "": none are sent. service:
    what the clients call if the service is not the lab's.
    """

    folder: Path
    replicas: dict[str, str]
    controls: dict[str, str]
    admins: dict[str, EnvoyAdmin] = field(default_factory=dict)
    proxies: dict[str, str] = field(default_factory=dict)
    replicas_tls: dict[str, str] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    name_server: str | None = None
    control_plane: str | None = None
    started_by_lab: bool = True
    missing_ledgers: dict[Party, str] = field(default_factory=dict)
    tls: bool = False
    authority: str | None = None
    key_prefix: str = "load"
    trace_prefix: str = ""
    service: ServiceCalls | None = None

    @property
    def envoy(self) -> EnvoyAdmin | None:
        """The admin interface of the proxy, or of its first node; None on a direct route."""
        return next(iter(self.admins.values()), None)

    @property
    def envoy_address(self) -> str | None:
        """The "host:port" of the proxy, or of its first node; None on a direct route."""
        return next(iter(self.proxies.values()), None)

    @property
    def several_proxies(self) -> dict[str, str]:
        """The nodes of a proxy that has several -> "host:port"; otherwise {}."""
        return {} if PROXY in self.proxies else dict(self.proxies)

    @property
    def target(self) -> str:
        """What clients connect to: the control plane, a DNS name of proxy or replicas, Envoy, or replicas."""
        if self.control_plane is not None:
            return f"{XDS}{self.control_plane}/{CLUSTER}"
        if self.name_server is not None:
            name, named = (PROXY_NAME, self.proxies) if self.proxies else (REPLICAS_NAME, self.replicas)
            return f"dns://{self.name_server}/{name}:{next(iter(named.values())).rpartition(':')[2]}"
        return self.envoy_address or ",".join(self.replicas.values())


# What the lab's name server is asked for.
REPLICAS_NAME, PROXY_NAME = "replicas.lab", "balancer.lab"


class Testbed(Protocol):
    """Starts and stops the components of one cell at a time. Leaving the context stops all that still run."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def start_cell(self, experiment: Experiment, plan: CellPlan, folder: Path, epoch_ns: int) -> LiveCell:
        """Start new replicas and, if the route has a proxy, a new proxy; return when all are ready.

        Raises LabError, with the log's path, if a component dies or is not ready in time.
        """

    @property
    def fleet(self) -> Fleet:
        """Replicas and proxy of the cell that was started last."""

    def start_load(self, order: Path, folder: Path) -> Process:
        """Start the load process, which reads the file `order`, and return it."""

    def load_status(self) -> int | None:
        """Return the load process's exit status; None while it runs.

        Raises LabError, with the log's path, if another component has ended unexpectedly.
        """

    def wait_for_load(self, timeout_s: float) -> None:
        """Wait for `timeout_s`, or less where it is known at once that the load process has ended."""

    def stop_load(self) -> None:
        """Stop the load early. When this returns, all finished requests are on disk."""

    def check(self) -> None:
        """Raise LabError, with the log's path, if a replica or the proxy ended unexpectedly."""

    def stop_cell(self) -> None:
        """Stop replicas and proxy. When this returns, their ledgers are complete."""
