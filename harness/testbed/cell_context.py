"""The context in which the components of one cell (replicas, proxy, load) start."""

import json
from dataclasses import dataclass
from pathlib import Path

from harness.plan.cells import CellPlan
from harness.proxy.tls import TlsFiles
from harness.spec.experiment import Experiment


@dataclass(frozen=True)
class CellContext:
    """What all components of a cell share.

    folder: the cell's folder; epoch_ns: the cell's start on the monotonic clock; tls: certificate and key,
    None if the components do not speak TLS.
    """

    experiment: Experiment
    plan: CellPlan
    folder: Path
    epoch_ns: int
    tls: TlsFiles | None

    def log(self, component: str) -> Path:
        """Return the file that holds the output of `component` ("replica-0", "envoy", "load")."""
        return self.folder / "logs" / f"{component}.log"

    def ready_file(self, replica: str) -> Path:
        """Return the file that the replica writes when it starts to serve."""
        return self.folder / "logs" / f"{replica}.ready.json"

    def ready(self, replica: str) -> dict[str, str] | None:
        """Return the content of the ready file (address, control_address, ...); None if it does not exist."""
        try:
            return dict(json.loads(self.ready_file(replica).read_text()))
        except FileNotFoundError:
            return None
