"""Measures the time from the command to the first measured request, and the time of a run without load."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import polars as pl

ROOT = Path(__file__).resolve().parent.parent
NO_VERDICT_NEEDED = (0, 1, 3)


def first_request_s(*given: str) -> float:
    """Return the seconds from the command to the first measured request: 4 replicas, Envoy, no warm-up.

    given: more options of the command.
    """
    with tempfile.TemporaryDirectory() as results:
        options = ["--warm-up", "0", "--duration", "0.5", "--repeats", "1", "--quiet", *given]
        launched_unix_s, run = time.time(), _run(options, results)
        first = json.loads((run / "manifest.json").read_text())["cells"][0]
        return _cell_span_unix_s(run / "cells" / f"{first['arm']}.{first['repeat']}")[0] - launched_unix_s


class RunCost(NamedTuple):
    """One run of `sticky`: seconds from the command to the verdict and to the end, and how long it loaded.

    load_s: from the first send to the last answer of each cell, warm-up and drained queues included.
    """

    verdict_s: float
    total_s: float
    load_s: float
    cells: int


def run_cost() -> RunCost:
    """Run `sticky` once as it is."""
    with tempfile.TemporaryDirectory() as results:
        launched_unix_s = time.time()
        run = _run(["--quiet"], results)
        total_s = time.time() - launched_unix_s
        # The verdict is printed when summary.json has been written.
        verdict_s = (run / "summary.json").stat().st_mtime - launched_unix_s
        spans = [_cell_span_unix_s(cell) for cell in (run / "cells").iterdir()]
        return RunCost(verdict_s, total_s, sum(end_s - start_s for start_s, end_s in spans), len(spans))


def _run(options: list[str], results: str) -> Path:
    """Run `sticky` and return its run directory, whatever the verdict."""
    argv = [sys.executable, str(ROOT / "run_experiment.py"), "sticky", "--redo", "0", "--results", results]
    done = subprocess.run([*argv, *options], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode not in NO_VERDICT_NEEDED:
        raise RuntimeError(done.stderr)
    return Path(results, "sticky", "latest").resolve()


def _cell_span_unix_s(cell: Path) -> tuple[float, float]:
    """Return the times (Unix seconds) of the cell's first send and last answer, warm-up included."""
    epoch_unix_ns = json.loads((cell / "cell.json").read_text())["epoch_unix_ns"]
    rows = pl.read_parquet(cell / "requests.parquet", columns=["sent_ns", "done_ns"])
    first_ns, last_ns = rows["sent_ns"].min(), rows["done_ns"].max()
    assert isinstance(first_ns, int)
    assert isinstance(last_ns, int)
    return (epoch_unix_ns + first_ns) / 1e9, (epoch_unix_ns + last_ns) / 1e9
