"""`python -m bench.judging REQUESTS ... --page PAGE`: size on disk and time to judge of large cells.

Runs a real cell. Writes its ledgers many times, for other clients and later times, as the parts write them
while a cell runs. Then new processes do what a run does when such a cell has ended: turn the ledgers into
tables, and derive the summary from them. In PAGE it replaces the rows of the tables `disk` and `judging`.
"""

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.capacity.page import Rows, filled
from bench.enlarged import CELL, write_enlarged
from harness.analysis.cell_rules import MAX_DRAWN
from harness.analysis.summary import facts_of, summarise
from harness.record.cell_record import CELL_FILE, CellRecord
from harness.record.ledger_files import store_ledgers
from harness.record.manifest import MANIFEST, Manifest
from harness.record.record_file import read_record, write_record
from harness.record.run_directory import read_run
from harness.record.seals import seal_of_cell
from harness.record.tables import store_rows
from harness.run.provenance import versions
from lb.rows import REQUEST_COLUMNS

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENT = Path(__file__).with_name("generator.yaml")
NO_VERDICT_NEEDED = (0, 1, 3)
LARGE = 10_000_000  # requests
SMALLEST = 2 * MAX_DRAWN  # requests that are surely compared with no plan
CORES = "2"


def main() -> None:
    """Measure each size; print the figures, or write them into the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.judging", description=__doc__)
    parser.add_argument("requests", type=int, nargs="+", help="number of requests of a cell (approximately)")
    parser.add_argument("--page", type=Path, help="the file with the tables `disk` and `judging` to fill")
    parser.add_argument(
        "--keep", type=Path, help="a folder: keep the runs there, and use those that are there"
    )
    options = parser.parse_args()
    if min(options.requests) < SMALLEST:
        parser.error(
            f"expected at least {SMALLEST:,} requests: the plan of fewer is drawn again, and copies differ"
        )
    os.environ["POLARS_MAX_THREADS"] = CORES
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        found = [measure(folder, requests) for requests in sorted(options.requests)]
    print(json.dumps(found, indent=1))
    if options.page:
        text = filled(options.page.read_text(), "disk", disk(found[-1]["bytes"], found[-1]["requests"]))
        options.page.write_text(filled(text, "judging", judging(found)))


def judging(found: list[dict[str, Any]]) -> Rows:
    """Return the rows of the table `judging`."""
    for one in found:
        size = sum(one["bytes"].values()) / 1e9
        memory = f"{one['summary_mib'] / 1024:.2f} GiB"
        seconds = (f"{one[name]:.1f}" for name in ("summary_s", "summary_cpu_s"))
        yield f"{one['requests']:,}", f"{size:.2f} GB", *seconds, memory, _origin()


def disk(sizes: dict[str, int], requests: int) -> Rows:
    """Return the rows of the table `disk`. `sizes`: ledger -> bytes of its table."""
    for ledger, size in (*sizes.items(), ("all", sum(sizes.values()))):
        yield ledger, f"{size / requests:.0f}", f"{size / requests * LARGE / 1e9:.1f} GB", _origin()


def _origin() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}, lb-lab {versions()['lb-lab']}"


def measure(folder: Path, requests: int) -> dict[str, Any]:
    """Return the figures of a cell of about that many requests."""
    small, large = folder / "small", folder / str(requests)
    if not small.exists():
        _run_real(small)
    if not large.exists():
        write_enlarged(next(small.glob("*/latest")).resolve(), requests, large)
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(large, work, copy_function=os.link)
    try:
        # A process for each step, so that its peak of memory is its own.
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            return pool.apply(convert, (work,)) | pool.apply(judge, (work,))
    finally:
        shutil.rmtree(work)


def convert(run_dir: Path) -> dict[str, Any]:
    """Turn the ledgers into tables and seal them. Return seconds, CPU seconds, peak memory, and bytes."""
    folder = run_dir / CELL
    record = read_record(folder / CELL_FILE, CellRecord)
    files = {
        "client": ("requests.csv", "requests.parquet"),
        "envoy": ("access.*", "proxy.parquet"),
        "replica": ("replica-*.csv", "replicas.parquet"),
    }
    written = {ledger: _bytes(folder, names) for ledger, (names, _) in files.items()}
    started = _clock()
    store_rows(folder / "requests.csv", folder / "requests.parquet", REQUEST_COLUMNS)
    store_ledgers(folder, record.replicas)
    manifest = read_record(run_dir / MANIFEST, Manifest)
    manifest.cells[0].seals = seal_of_cell(folder)
    used = _used("convert", started)
    write_record(run_dir / MANIFEST, manifest)
    tables = {ledger: _bytes(folder, table) for ledger, (_, table) in files.items()}
    return used | {"written_bytes": written, "bytes": tables}


def judge(run_dir: Path) -> dict[str, Any]:
    """Derive the summary from the tables. Return requests, seconds, CPU seconds and peak memory."""
    started = _clock()
    run = read_run(run_dir)
    facts = facts_of(run)
    summary = summarise(run, facts)
    used = _used("summary", started)
    ((found,),) = facts.values()
    if found.contradictions or not found.ledgers.reconciled:
        raise RuntimeError(f"the cell contradicts itself: {summary.invalid_reasons}")
    return used | {"requests": found.requests}


def _clock() -> tuple[float, float]:
    return time.monotonic(), time.process_time()


def _used(step: str, begin: tuple[float, float]) -> dict[str, float]:
    """Return what a step has taken since it began, and this process's peak memory."""
    (begin_s, begin_cpu_s), (end_s, end_cpu_s) = begin, _clock()
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {f"{step}_s": end_s - begin_s, f"{step}_cpu_s": end_cpu_s - begin_cpu_s, f"{step}_mib": peak_mib}


def _bytes(folder: Path, names: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(names))


def _run_real(results: Path) -> None:
    """Run the experiment of the bench of the generator once."""
    argv = [sys.executable, str(ROOT / "run_experiment.py"), str(EXPERIMENT), "--results", str(results)]
    done = subprocess.run([*argv, "--quiet"], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode not in NO_VERDICT_NEEDED:
        raise RuntimeError(done.stderr)


if __name__ == "__main__":
    main()
