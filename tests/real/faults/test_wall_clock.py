"""The wall clock jumps by an hour, forward and back, during a run, and no measured value changes."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lab_process import Lab, StartLab, experiment_file

HOUR_S = 3600
BUSY_NS = 20e9
# Envoy cannot start with the library, so only Envoy has the true time. Processes that the fork server forks
# have the library; programs that it executes do not.
SITE = """
import os, sys
if "harness.testbed.forkserver" in sys.orig_argv:
    os.environ.pop("LD_PRELOAD", None)
"""
ARMS = {
    "proxy": {"route": "envoy", "policy": "sticky"},
    "client": {"route": "direct", "policy": "round_robin"},
}
EVENTS = [{"at_s": 0.8, "do": "kill", "target": "replica-1", "for_s": 0.5}]
COMPONENTS = ["load", "replica-0", "replica-2", "envoy"]
WORK = {"duration_s": 2.0, "warm_up_s": 0.3}


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file with the offset of the wall clock for all processes that start from now on."""
    spec = importlib.util.find_spec("libfaketime")
    assert spec is not None
    assert spec.origin is not None
    library = Path(spec.origin).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
    offset_file = tmp_path / "clock"
    set_clock(offset_file, 0)
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(offset_file))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    monkeypatch.setenv("DONT_FAKE_MONOTONIC", "1")
    monkeypatch.setenv("LD_PRELOAD", str(library))
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE)
    monkeypatch.setenv("PYTHONPATH", str(site))
    set_clock(offset_file, HOUR_S)
    if abs(wall_clock_s() - time.time() - HOUR_S) > 60:
        pytest.skip("libfaketime cannot be preloaded here")
    set_clock(offset_file, 0)
    return offset_file


def set_clock(offset_file: Path, ahead_s: int) -> None:
    new = offset_file.with_suffix(".new")
    new.write_text(f"{ahead_s:+d}\n")
    new.replace(offset_file)


def has_library(lab: Lab, name: str) -> bool:
    try:
        process = lab.component(name)
    except LookupError:  # a direct arm has no Envoy
        return False
    return "libfaketime" in Path(f"/proc/{process.pid}/maps").read_text()


def wall_clock_s() -> float:
    """Return the wall-clock time that a new process sees."""
    script = "import time; print(time.time())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ)
    return float(done.stdout)


def jump_in_each_cell(lab: Lab, clock: Path) -> int:
    """Until the run ends, move the clock three times in each measured cell; return the number of cells."""
    cells: list[Path] = []
    while lab.process.poll() is None:
        for cell in lab.results.glob("*/*/cells/*"):
            path = cell / "load-status.json"
            if cell not in cells and path.exists() and json.loads(path.read_text())["state"] == "measure":
                cells.append(cell)
                assert [name for name in COMPONENTS if has_library(lab, name)] == COMPONENTS[:-1]
                for ahead_s in (HOUR_S, -HOUR_S, HOUR_S):
                    time.sleep(0.5)
                    set_clock(clock, ahead_s)
        time.sleep(0.01)
    return len(cells)


def test_it_jumps_while_measuring(clock: Path, start_lab: StartLab, tmp_path: Path) -> None:
    expect = [
        {"arm": "proxy", "metric": "latency_ms.p50", "at_most": 1000},
        {"arm": "client", "metric": "latency_ms.p99", "at_most": 1000},
    ]
    path = experiment_file(tmp_path, arms=ARMS, events=EVENTS, workload=WORK, expect=expect)
    lab = start_lab("run", path, "--redo", 0)
    cells = jump_in_each_cell(lab, clock)
    status, out, err = lab.end()
    assert status in (0, 3), out + err  # 3: the generator lagged on a busy machine
    assert cells == len(ARMS)

    summary = json.loads((lab.run / "summary.json").read_text())
    for arm in ARMS:
        figures = summary["arms"][arm]
        assert figures["ledgers"]["reconciled"], figures["ledgers"]
        info = json.loads((lab.cell(arm) / "cell.json").read_text())
        assert info["measure_end_ns"] - info["measure_start_ns"] == WORK["duration_s"] * 1e9
        rows = lab.rows(arm)
        for name in ("planned_ns", "sent_ns", "done_ns", "queue_ns", "service_ns"):
            assert rows[name].is_between(0, 60_000_000_000).all()
        lines = [json.loads(line) for line in (lab.cell(arm) / "events.jsonl").read_text().splitlines()]
        times = [line["t_ns"] for line in lines]
        assert times == sorted(times)
        asked = [line for line in lines if line["event"] == "asked"]
        assert [line["do"] for line in asked] == ["kill", "start"]
        # Not before its time, and not an hour late. The machine may be busy for some seconds.
        assert asked[1]["planned_ns"] - asked[0]["planned_ns"] == 0.5e9
        assert all(0 <= line["t_ns"] - line["planned_ns"] < BUSY_NS for line in asked), asked

    # Only names and dates show the jump.
    started, finished = (
        datetime.fromisoformat(lab.manifest[f"{word}_utc"]) for word in ("started", "finished")
    )
    assert (finished - started).total_seconds() > HOUR_S - 60
    assert abs((started - datetime.now(UTC)).total_seconds()) < 120
