"""The load-balancing lab. `harness.open_run` opens the record of a run for notebooks and scripts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.analysis.run_tables import RunTables


def open_run(path: str | Path) -> RunTables:
    """Return the tables of a run's directory, as results/sticky/latest: see RunTables.

    Raises UserError when the directory is no run of this lab, or is damaged.
    """
    # Polars is imported by those who open a run, not by everything that imports the lab.
    from harness.analysis.run_tables import RunTables

    return RunTables.of(Path(path))
