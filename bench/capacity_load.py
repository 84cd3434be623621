"""Watches the lab's own load process, and the parts behind it, while it plays a plan."""

import json
import time
from pathlib import Path
from typing import Any

import polars as pl

from bench.capacity_usage import Usage
from harness.plan.cells import CellPlan
from harness.plan.client_settings import client_settings
from harness.record.tables import store_rows
from harness.testbed.base import LiveCell
from harness.testbed.local.testbed import LocalTestbed
from lb.rows import REQUEST_COLUMNS
from load.order import REQUESTS_FILE, STATUS_FILE, LoadOrder

POLL_S = 0.01
PATIENCE_S = 30.0
LAG_SHARE = 0.99


def play_load(plan: CellPlan, testbed: LocalTestbed, live: LiveCell, pids: dict[str, int]) -> dict[str, Any]:
    """What the load process and those of `pids` (name -> process id) used, and how well the plan was kept."""
    work, folder = plan.workload, live.folder
    order = folder / "order.json"
    settings = client_settings(plan, live, time.monotonic_ns())
    LoadOrder(plan.load, settings, work.warm_up_s, work.duration_s, folder).write(order)
    load = testbed.start_load(order, folder)
    usage = Usage({"load": load.pid, **pids})
    deadline_s, told = time.monotonic() + PATIENCE_S, -1
    while testbed.load_status() is None:
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"the load did not end in {PATIENCE_S:g} s")
        status = _status(folder)
        if status.get("state") == "measure" and status["answered"] != told:
            # Only when the load has just said how many: its word is up to a batch old at any other time.
            told = status["answered"]
            usage.sample(told)
            if usage.seconds > work.duration_s / 2:
                usage.memory()
        time.sleep(POLL_S)
    if load.status != 0:
        raise RuntimeError(f"the load failed (status {load.status}): {load.log.read_text()}")
    return usage.used() | _sending(folder)


def _status(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / STATUS_FILE).read_text()))
    except FileNotFoundError:
        return {}


def _sending(folder: Path) -> dict[str, Any]:
    """How well the plan was kept, in the measured window."""
    status = _status(folder)
    store_rows(folder / REQUESTS_FILE, folder / "requests.parquet", REQUEST_COLUMNS)
    table = pl.read_parquet(folder / "requests.parquet")
    rows = table.filter(pl.col("planned_ns") >= status["measure_start_ns"])
    in_time = rows.filter(pl.col("sent_ns") < status["measure_end_ns"])
    lag_ns = (rows["sent_ns"] - rows["planned_ns"]).quantile(LAG_SHARE)
    latency_ns = (rows["done_ns"] - rows["planned_ns"]).quantile(0.5)
    assert lag_ns is not None
    assert latency_ns is not None
    return {
        "sent_share": round(in_time.height / rows.height, 4),
        "failed": rows.filter(pl.col("code") != "OK").height,
        "lag_p99_ms": round(lag_ns / 1e6, 3),
        "latency_p50_ms": round(latency_ns / 1e6, 3),
    }


def bytes_per_row(folder: Path) -> dict[str, Any]:
    """Bytes a request on disk, by ledger."""
    rows = pl.scan_parquet(folder / "requests.parquet").select(pl.len()).collect().item()
    sizes = {
        "client": (folder / "requests.parquet").stat().st_size,
        "envoy": sum(path.stat().st_size for path in folder.glob("access.jsonl")),
        "replica": sum(path.stat().st_size for path in folder.glob("replica-*.csv")),
    }
    return {"bytes_per_row": {name: round(size / rows, 1) for name, size in sizes.items() if size}}
