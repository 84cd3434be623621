"""SIGKILL of the harness at any moment: no process, no port, and a run directory that reads, or none."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from lab_process import MARK, ROOT, experiment_file

from harness.analysis.summary import facts_of, summarise
from harness.record.reader import read_run
from harness.report.page import build_report

MOMENTS = int(os.environ.get("LB_LAB_KILL_MOMENTS", "50"))
SEED = 5
AT_ONCE = 2
GONE_S = 3.0
HERE = Path(__file__).parent
TINY = {
    "replicas": {"count": 2},
    "workload": {"warm_up_s": 0.1, "duration_s": 0.3},
    "arms": {"sticky": {"route": "envoy", "policy": "sticky"}},
}


def start(folder: Path) -> subprocess.Popen[bytes]:
    """A small run with its results below `folder`; all its processes have the folder's name as a mark."""
    folder.mkdir()
    words = ["run", str(experiment_file(folder, **TINY)), "--results", str(folder / "results"), "--quiet"]
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run_experiment.py"), *words],
        env={**os.environ, "LB_LAB_MOMENT": folder.name},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def alive(folder: Path) -> list[psutil.Process]:
    """The processes of that run."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:  # gone meanwhile, or a zombie
            continue
        if environment.get("LB_LAB_MOMENT") == folder.name and environment.get(MARK) == os.environ[MARK]:
            found.append(process)
    return found


def kill_after(folder: Path, moment_s: float) -> list[str]:
    """Start a run and kill its harness; the processes that are left a little later."""
    lab = start(folder)
    try:
        lab.wait(moment_s)
    except subprocess.TimeoutExpired:
        lab.send_signal(signal.SIGKILL)
        lab.wait()
    deadline_s = time.monotonic() + GONE_S
    while (left := alive(folder)) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    return [str(process) for process in left]


def taken_ports(folders: list[Path]) -> set[int]:
    """Ports that the runs' parts had and that somebody listens on, unless that is a process of others."""
    names = ("cell.json", "admin*", "envoy.yaml", "load-order.json")
    texts = [path.read_text() for folder in folders for name in names for path in folder.rglob(name)]
    ports = {int(port) for text in texts for port in re.findall(r"127\.0\.0\.1:(\d+)", text)} - {0}
    assert ports
    listening = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    return ports & {each.laddr[1] for each in listening if each.pid is None}


def state(folder: Path) -> str:
    """How far the run got: "absent", "empty" (nothing was measured yet), or the status that it tells."""
    run = run_of(folder)
    if run is None:
        return "absent"
    stored = read_run(run)
    told = summarise(stored, facts_of(stored)).status if stored.cells else "empty"
    assert stored.manifest.status in ("interrupted", "completed")
    assert told in (stored.manifest.status, "empty")
    return told


def run_of(folder: Path) -> Path | None:
    """The run directory, if there is one."""
    runs = [path for path in folder.glob("results/*/[!.]*") if not path.is_symlink()]
    assert len(runs) <= 1
    return runs[0] if runs else None


@pytest.mark.timeout(120 + 10 * MOMENTS)
def test_at_random_moments(tmp_path: Path) -> None:
    began_s = time.monotonic()
    assert start(tmp_path / "whole").wait(60) in (0, 3)
    whole_s = time.monotonic() - began_s
    rng = random.Random(SEED)
    # One in each of so many equal parts of a run; two runs at a time take longer than one alone.
    moments = [1.3 * whole_s * (number + rng.random()) / MOMENTS for number in range(MOMENTS)]
    rng.shuffle(moments)
    folders = [tmp_path / f"moment-{number}" for number in range(MOMENTS)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        left = list(pool.map(kill_after, folders, moments))
    told = [f"{moment:.3f} s: {names}" for moment, names in zip(moments, left, strict=True) if names]
    assert not told, "these outlived the harness that was killed after"
    assert taken_ports(folders) == set()
    states = {folder: state(folder) for folder in folders}
    for folder in sample(states):
        build_report(run_of(folder) or folder)
    if MOMENTS >= 50:  # they do fall into every part of a run
        assert set(states.values()) == {"absent", "empty", "interrupted", "completed"}, states


def sample(states: dict[Path, str]) -> list[Path]:
    """Two runs of each state that a report can be made of; drawing it takes more than a second."""
    by_state = {state: [each for each in states if states[each] == state] for state in set(states.values())}
    return [folder for state in ("interrupted", "completed") for folder in by_state.get(state, [])[:2]]


def write(folder: Path, changes: int) -> int:
    done = subprocess.run(
        [sys.executable, "-B", str(HERE / "run_directory_writer.py"), str(folder), str(changes)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return done.returncode


def test_between_any_two_changes_of_the_run_directory(tmp_path: Path) -> None:
    """The moments that chance hardly ever hits: a run directory is whole, or not there."""
    for changes in range(1, 100):
        results = tmp_path / str(changes)
        status = write(results, changes)
        runs = [path for path in results.glob("sticky/[!.]*") if path.name != "latest"]
        for run in runs:
            assert read_run(run).manifest.status in ("interrupted", "completed")
        if (results / "sticky" / "latest").is_symlink():
            assert (results / "sticky" / "latest" / "manifest.json").is_file()
        if status == 0:
            break
        assert status == -signal.SIGKILL
    else:
        pytest.fail("it never came to its end")
    assert changes > 8
    assert [read_run(run).manifest.status for run in runs] == ["completed"]
