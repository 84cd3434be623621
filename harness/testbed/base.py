"""What every testbed can do; `local` runs processes on this machine."""

from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from harness.cells import CellPlan
from harness.endpoints import Endpoint
from harness.proxy_admin import EnvoyAdmin
from harness.spec import Experiment
from harness.testbed.processes import Process


@dataclass
class LiveCell:
    """The running parts of one cell. `replicas`: name -> "host:port"; `envoy` is None on a direct route.

    `controls`: the same, where LabControl is. `replicas_tls`: the same for TLS; empty where there is none.
    Envoy speaks TLS on its one address. `pids`: part -> process on this machine, where they are known.
    `name_server`: "host:port" of the lab's, where clients ask it.

    `ours`: the lab has started them. If not: `no_ledgers`: whose ledgers cannot be had ("envoy", "replica"),
    and why; `tls`: calls to `envoy_address` are encrypted, `authority`: PEM text of whom to trust;
    `key_prefix`: of the videos that clients add, since replicas have some from before. A replica may have
    the address "": unknown.
    """

    folder: Path
    replicas: dict[str, str]
    controls: dict[str, str]
    envoy: EnvoyAdmin | None = None
    envoy_address: str | None = None
    replicas_tls: dict[str, str] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)
    name_server: str | None = None
    ours: bool = True
    no_ledgers: dict[str, str] = field(default_factory=dict)
    tls: bool = False
    authority: str | None = None
    key_prefix: str = "load"

    @property
    def target(self) -> str:
        """What clients connect to: Envoy's address, the replicas' name, or all replicas' addresses."""
        if self.name_server is not None:
            port = next(iter(self.replicas.values())).rpartition(":")[2]
            return f"dns://{self.name_server}/{REPLICAS_NAME}:{port}"
        return self.envoy_address or ",".join(self.replicas.values())


REPLICAS_NAME = "replicas.lab"


class Fleet(Protocol):
    """The hand on a running cell's parts: what its events need. Nothing here waits.

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
        """Tell proxy and name server, where there are such, which endpoints there are now."""
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
    """What can be done besides to replicas in containers. Raises LabError when the engine refuses."""

    def partition(self, name: str) -> None:
        """Take it off the network: packets to it get no answer."""
        ...

    def rejoin(self, name: str) -> None:
        """Put it back on the network, at its address."""
        ...

    def limit_cpu(self, name: str, cores: float | None) -> None:
        """Let it use so many CPU cores at most; None: as many as there are."""
        ...


class Testbed(Protocol):
    """Starts and stops the parts of one cell at a time. Leaving the context stops whatever still runs."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def start_cell(self, experiment: Experiment, plan: CellPlan, folder: Path, epoch_ns: int) -> LiveCell:
        """Start fresh replicas and, where the route has one, a fresh proxy; return when all are ready.

        Raises LabError naming the log of a part that dies or does not get ready.
        """
        ...

    @property
    def fleet(self) -> Fleet:
        """The hand on the parts of the cell that was started last."""
        ...

    def start_load(self, order: Path, folder: Path) -> Process:
        """Start the load process on the order in that file, and return it."""
        ...

    def load_status(self) -> int | None:
        """The load process's exit status, None while it runs.

        Raises LabError naming the log of any other part that has died meanwhile, unless it was to.
        """
        ...

    def stop_load(self) -> None:
        """End the load early; what was finished is on disk when this returns."""
        ...

    def stop_cell(self) -> None:
        """Stop replicas and proxy; their ledgers are complete when this returns."""
        ...
