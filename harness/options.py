"""How one command is to be carried out, apart from what the experiment says."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class RunOptions:
    """What the command line adds to an experiment.

    `overrides` (dotted field name -> value, as `workload.rate_per_s`) are already part of the experiment
    that comes with these options; they are here to be recorded in the run's manifest.
    """

    results: Path = Path("results")
    web: bool = False
    web_port: int = 8089
    quiet: bool = False
    overrides: dict[str, object] = field(default_factory=dict)
