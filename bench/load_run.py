"""Runs the lab's load process once and watches it: CPU, memory, and how well it kept its plan."""

import json
import time
from pathlib import Path
from typing import Any

import polars as pl

from bench.usage import Usage
from harness.record.tables import store_rows
from harness.testbed.local.testbed import LocalTestbed
from lb.rows import REQUEST_COLUMNS
from load.order import REQUESTS_FILE, STATUS_FILE, LoadOrder

POLL_S = 0.01


def run_load(testbed: LocalTestbed, order: LoadOrder, pids: dict[str, int]) -> dict[str, Any]:
    """Return calls_per_s, sent_share, failed, lag_p99_ms and what the load process and `pids` used (Usage).

    All figures are of the measured window. Raises RuntimeError with the log of a load process that failed.
    """
    folder = order.folder
    order.write(folder / "order.json")
    load = testbed.start_load(folder / "order.json", folder)
    usage, answered = Usage({"load": load.pid, **pids}), [-1]
    while testbed.load_status() is None:
        status = _status(folder)
        # Only a count that has just changed is current: the load process reports after each batch of answers.
        if status.get("state") == "measure" and status["answered"] != answered[-1] and usage.sample():
            answered.append(status["answered"])
            if not usage.sizes and usage.seconds > order.duration_s / 2:
                usage.measure_sizes()
        time.sleep(POLL_S)
    if load.status != 0:
        raise RuntimeError(f"the load failed (status {load.status}): {load.log.read_text()}")
    calls_per_s = round((answered[-1] - answered[1]) / usage.seconds, 1)
    return {"calls_per_s": calls_per_s, **usage.columns(), **_sending(folder)}


def _status(folder: Path) -> dict[str, Any]:
    path = folder / STATUS_FILE
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _sending(folder: Path) -> dict[str, Any]:
    """Return how well the load process kept its plan."""
    status = _status(folder)
    store_rows(folder / REQUESTS_FILE, folder / "requests.parquet", REQUEST_COLUMNS)
    rows = pl.read_parquet(folder / "requests.parquet")
    rows = rows.filter(pl.col("planned_ns") >= status["measure_start_ns"])
    lag_ns = (rows["sent_ns"] - rows["ready_ns"]).quantile(0.99)
    assert lag_ns is not None
    return {
        "sent_share": round((rows["sent_ns"] < status["measure_end_ns"]).sum() / rows.height, 4),
        "failed": (rows["code"] != "OK").sum(),
        "lag_p99_ms": round(lag_ns / 1e6, 3),
    }
