"""`python -m bench.judging REQUESTS ... --page PAGE`: size on disk and time to judge of large cells.

Runs a real cell, copies its ledgers many times with other request ids, and judges the result. In PAGE it
replaces the rows of the tables `disk` and `judging`.
"""

import argparse
import json
import multiprocessing
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from bench.capacity.page import Rows, filled
from bench.capacity.parts import EXPERIMENT
from harness.analysis.facts import collect_facts
from harness.record.cell_record import CELL_FILE, CellRecord
from harness.record.ledger_files import PROXY_STEM, REPLICAS_STEM
from harness.record.record_file import read_record, write_record
from harness.record.run_directory import Cell, read_run
from harness.run.provenance import versions

ROOT = Path(__file__).resolve().parent.parent
ID_STEP = 10_000  # the ids of all copies of one client's requests stay below the next client's ids
NO_VERDICT_NEEDED = (0, 1, 3)
LARGE = 10_000_000  # requests


def main() -> None:
    """Measure each size; print the rows, or write them into the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.judging", description=__doc__)
    parser.add_argument("requests", type=int, nargs="+", help="number of requests of a cell (approximately)")
    parser.add_argument("--page", type=Path, help="the file with the tables `disk` and `judging` to fill")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        cell = _real_cell(Path(scratch))
        found = [_measure(cell, requests, Path(scratch) / "large") for requests in sorted(options.requests)]
    print(json.dumps(found, indent=1))
    if options.page:
        text = filled(options.page.read_text(), "disk", disk(found[-1]["bytes"], found[-1]["requests"]))
        options.page.write_text(filled(text, "judging", judging(found)))


def judging(found: list[dict[str, Any]]) -> Rows:
    """Return the rows of the table `judging`."""
    for one in found:
        size, memory = f"{sum(one['bytes'].values()) / 1e9:.2f} GB", f"{one['peak_mib'] / 1024:.2f} GiB"
        yield f"{one['requests']:,}", size, f"{one['seconds']:.1f}", f"{one['cpu_s']:.1f}", memory, _origin()


def disk(sizes: dict[str, int], requests: int) -> Rows:
    """Return the rows of the table `disk`. `sizes`: bytes by ledger."""
    for ledger, size in (*sizes.items(), ("all", sum(sizes.values()))):
        yield ledger, f"{size / requests:.0f}", f"{size / requests * LARGE / 1e9:.1f} GB", _origin()


def _origin() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}, lb-lab {versions()['lb-lab']}"


def _measure(cell: Cell, requests: int, folder: Path) -> dict[str, Any]:
    """Return the figures of a cell of about that many requests. `folder` is empty again afterwards."""
    _write_large(cell, requests, folder)
    files = {
        "client": "requests.parquet",
        "envoy": f"{PROXY_STEM}.parquet",
        "replica": f"{REPLICAS_STEM}.parquet",
    }
    sizes = {name: sum(path.stat().st_size for path in folder.glob(names)) for name, names in files.items()}
    # A new process, so that its memory is that of judging alone.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(judge, (folder,))
    shutil.rmtree(folder)
    return found | {"bytes": sizes}


def judge(folder: Path) -> dict[str, Any]:
    """Judge the cell; return the seconds that it took, and this process's CPU seconds and peak memory."""
    cell = Cell(folder, read_record(folder / CELL_FILE, CellRecord))
    started_s = time.monotonic()
    facts = collect_facts(cell)
    seconds = time.monotonic() - started_s
    if not facts.ledgers.reconciled:
        raise RuntimeError(f"the copied ledgers do not agree: {facts.ledgers}")
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s, peak_mib = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    return {"requests": facts.requests, "seconds": seconds, "cpu_s": cpu_s, "peak_mib": peak_mib}


def _real_cell(scratch: Path) -> Cell:
    """Run the experiment of bench.capacity; return the cell of its arm `envoy`."""
    argv = [sys.executable, str(ROOT / "run_experiment.py"), str(EXPERIMENT)]
    argv += ["--results", str(scratch / "results"), "--quiet"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode not in NO_VERDICT_NEEDED:
        raise RuntimeError(done.stderr)
    (run,) = (scratch / "results").glob("*/latest")
    return read_run(run.resolve()).cells_of("envoy")[0]


def _write_large(cell: Cell, requests: int, folder: Path) -> None:
    """Write a cell of about that many requests: copies of `cell` with later times and other request ids."""
    folder.mkdir()
    record = cell.record
    ledgers = {
        "requests": (cell.requests(), ("planned_ns", "ready_ns", "sent_ns", "done_ns")),
        PROXY_STEM: (cell.proxy_ledger(), ("start_unix_ns",)),
        REPLICAS_STEM: (cell.replica_ledger(), ("arrived_ns", "done_ns")),
    }
    copies = max(1, round(requests / cell.requests().collect().height))
    number = pl.col("request_id")
    for stem, (ledger, moments) in ledgers.items():
        assert ledger is not None
        rows = ledger.collect().lazy()
        later = [
            rows.with_columns(
                pl.when(number >= 0).then(number + copy * ID_STEP).otherwise(number),
                pl.col(*moments) + copy * record.window_ns,
            )
            for copy in range(copies)
        ]
        pl.concat(later).sink_parquet(folder / f"{stem}.parquet", compression="zstd", compression_level=1)
    shutil.copy(cell.folder / "events.jsonl", folder / "events.jsonl")
    planned = {
        "measure_end_ns": record.measure_start_ns + copies * record.window_ns,
        "planned_requests": record.planned_requests * copies,
    }
    write_record(folder / CELL_FILE, record.model_copy(update=planned))


if __name__ == "__main__":
    main()
