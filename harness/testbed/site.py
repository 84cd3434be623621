"""Where and as what the parts of one cell are started."""

from dataclasses import dataclass
from pathlib import Path

from harness.cells import CellPlan
from harness.spec import Experiment
from harness.testbed.processes import ProcessFamily
from harness.tls import TlsFiles


@dataclass(frozen=True)
class CellSite:
    """What all parts of a cell have in common.

    family: whose processes they are; folder: the cell's; epoch_ns: its start (monotonic); tls: None where
    they speak clear text alone.
    """

    family: ProcessFamily
    experiment: Experiment
    plan: CellPlan
    folder: Path
    epoch_ns: int
    tls: TlsFiles | None
