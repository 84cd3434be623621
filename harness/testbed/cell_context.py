"""Where and as what the parts of one cell are started."""

import json
from dataclasses import dataclass
from pathlib import Path

from harness.plan.cells import CellPlan
from harness.proxy.tls import TlsFiles
from harness.spec.experiment import Experiment


@dataclass(frozen=True)
class CellContext:
    """What all parts of a cell have in common.

    folder: the cell's; epoch_ns: its start (monotonic); tls: None where they speak clear text alone.
    """

    experiment: Experiment
    plan: CellPlan
    folder: Path
    epoch_ns: int
    tls: TlsFiles | None

    def log(self, part: str) -> Path:
        """What the part prints."""
        return self.folder / "logs" / f"{part}.log"

    def ready_file(self, replica: str) -> Path:
        """What the replica writes once it serves."""
        return self.folder / "logs" / f"{replica}.ready.json"

    def ready(self, replica: str) -> dict[str, str] | None:
        """What a serving replica says of itself (address, control_address, ...); None while it does not."""
        try:
            return dict(json.loads(self.ready_file(replica).read_text()))
        except FileNotFoundError:
            return None
