"""What it takes to judge a cell of many requests: a real cell, its ledgers written over and over.

`python -m bench.capacity_summary REQUESTS ... [--out FILE]` measures the sizes that the file lacks.
"""

import argparse
import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl

from bench.capacity import DEFAULT_OUT, read_record
from harness.analysis.facts import collect_facts
from harness.record import record_file
from harness.record.cell_record import CELL_FILE, CellRecord
from harness.record.reader import Cell, read_run

ROOT = Path(__file__).resolve().parent.parent
ID_STEP = 10_000  # more than one client of the cell sends; all copies together stay below the next client
NO_VERDICT_NEEDED = (0, 1, 3)
REQUEST_ID = re.compile(rb'"request_id":"(\d+)"')


def main() -> None:
    """Make each cell, judge it in a process of its own, append the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.capacity_summary", description=__doc__)
    parser.add_argument("requests", type=int, nargs="*", help="how many the cells are to have, about")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, metavar="FILE", help="default %(default)s")
    parser.add_argument("--judge", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.judge:
        print(json.dumps(_judge(options.judge)))
        return
    record = read_record(options.out)
    found = record.setdefault("summaries", [])
    lacking = sorted(set(options.requests) - {summary["asked"] for summary in found})
    with tempfile.TemporaryDirectory() as scratch:
        cell = _real_cell(Path(scratch)) if lacking else None
        for requests in lacking:
            assert cell is not None
            measured = {"asked": requests} | _measure(_many(cell, requests, Path(scratch) / str(requests)))
            found.append(measured)
            record_file.write_json(options.out, record)
            print(measured)


def _measure(folder: Path) -> dict[str, Any]:
    """What it takes to judge the cell there, which is removed."""
    argv = [sys.executable, "-m", "bench.capacity_summary", "--judge", str(folder)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    disk_bytes = sum(path.stat().st_size for path in folder.iterdir())
    shutil.rmtree(folder)
    return dict(json.loads(done.stdout)) | {"disk_bytes": disk_bytes}


def _real_cell(scratch: Path) -> Cell:
    """The arm `envoy` of the capacity's own experiment, just run."""
    argv = [sys.executable, str(ROOT / "run_experiment.py"), str(ROOT / "bench" / "capacity.yaml")]
    argv += ["--results", str(scratch / "results"), "--quiet"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode not in NO_VERDICT_NEEDED:
        raise RuntimeError(done.stderr)
    return read_run((scratch / "results" / "capacity" / "latest").resolve()).cells_of("envoy")[0]


def _many(cell: Cell, requests: int, folder: Path) -> Path:
    """A cell of about so many requests: `cell` again and again, each time with other request ids, later."""
    folder.mkdir()
    table = cell.requests().collect()
    copies = max(1, round(requests / table.height))
    record, window_ns = cell.record.model_copy(), cell.record.window_ns
    later = [
        table.with_columns(
            pl.col("request_id") + copy * ID_STEP,
            pl.col("planned_ns", "sent_ns", "done_ns") + copy * window_ns,
        )
        for copy in range(copies)
    ]
    pl.concat(later).write_parquet(folder / "requests.parquet")
    for name in record.replicas:
        _copy_replica(cell.folder / f"{name}.csv", folder / f"{name}.csv", copies)
    _copy_envoy(cell.folder / "access.jsonl", folder / "access.jsonl", copies)
    shutil.copy(cell.folder / "events.jsonl", folder / "events.jsonl")
    record.measure_end_ns = record.measure_start_ns + copies * window_ns
    record.planned_requests *= copies
    record_file.write_record(folder / CELL_FILE, record)
    return folder


def _copy_replica(ledger: Path, to: Path, copies: int) -> None:
    rows = pl.read_csv(ledger)
    with to.open("wb") as file:
        for copy in range(copies):
            shifted = pl.when(pl.col("request_id") >= 0).then(pl.col("request_id") + copy * ID_STEP)
            lines = rows.with_columns(shifted.otherwise(pl.col("request_id")).alias("request_id"))
            lines.write_csv(file, include_header=copy == 0)


def _copy_envoy(ledger: Path, to: Path, copies: int) -> None:
    text = ledger.read_bytes()
    # What stands between the ids, and the ids: only these change.
    pieces = REQUEST_ID.split(text)
    ids = [int(number) for number in pieces[1::2]]
    with to.open("wb") as file:
        for copy in range(copies):
            pieces[1::2] = [b'"request_id":"%d"' % (number + copy * ID_STEP) for number in ids]
            file.write(b"".join(pieces))


def _judge(folder: Path) -> dict[str, Any]:
    """Gather the facts of the cell: how long it took, on how much CPU, with how much memory at its peak."""
    cell = Cell(folder, record_file.read_record(folder / CELL_FILE, CellRecord))
    started_s = time.monotonic()
    facts = collect_facts(cell)
    took_s = time.monotonic() - started_s
    if not facts.ledgers.reconciled:
        raise RuntimeError(f"the copied ledgers do not agree: {facts.ledgers}")
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "requests": facts.requests,
        "seconds": round(took_s, 2),
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "peak_mib": round(used.ru_maxrss / 1024, 1),
    }


if __name__ == "__main__":
    main()
