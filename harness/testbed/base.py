"""What every testbed can do; `local` runs processes on this machine."""

from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from harness.events.fleet import Fleet
from harness.plan.cells import CellPlan
from harness.proxy.admin import EnvoyAdmin
from harness.record.cell_record import Party
from harness.spec.experiment import Experiment
from harness.testbed.processes import Process


@dataclass
class LiveCell:
    """The running parts of one cell. `replicas`: name -> "host:port"; `envoy` is None on a direct route.

    `controls`: the same, where LabControl is. `replicas_tls`: the same for TLS; empty where there is none.
    Envoy speaks TLS on its one address. `pids`: part -> process on this machine, where they are known.
    `name_server`: "host:port" of the lab's, where clients ask it.

    `ours`: the lab has started them. If not: `missing_ledgers`: whose ledgers the lab cannot read
    ("envoy", "replica"), and why; `tls`: calls to `envoy_address` are encrypted, `authority`: PEM text of
    whom to trust; `key_prefix`: of the videos that clients add, since replicas have some from before. A
    replica may have the address "": unknown.
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
    missing_ledgers: dict[Party, str] = field(default_factory=dict)
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
        """Replicas and proxy of the cell that was started last."""
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
