"""What every testbed can do; `local` runs processes on this machine."""

from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from harness.cells import CellPlan
from harness.proxy_admin import EnvoyAdmin
from harness.spec import Experiment
from harness.testbed.processes import Process


@dataclass
class LiveCell:
    """The running parts of one cell. `replicas`: name -> "host:port"; `envoy` is None on a direct route.

    `replicas_tls`: the same for TLS; empty where there is none. Envoy speaks TLS on its one address.
    """

    folder: Path
    replicas: dict[str, str]
    envoy: EnvoyAdmin | None = None
    envoy_address: str | None = None
    replicas_tls: dict[str, str] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """What clients connect to: Envoy's address, or all replicas'."""
        return self.envoy_address or ",".join(self.replicas.values())


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

    def start_load(self, order: Path, folder: Path) -> Process:
        """Start the load process on the order in that file, and return it."""
        ...

    def load_status(self) -> int | None:
        """The load process's exit status, None while it runs.

        Raises LabError naming the log of any other part that has died meanwhile.
        """
        ...

    def stop_load(self) -> None:
        """End the load early; what was finished is on disk when this returns."""
        ...

    def stop_cell(self) -> None:
        """Stop replicas and proxy; their ledgers are complete when this returns."""
        ...
