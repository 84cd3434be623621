"""After SIGKILL of the harness at any moment no process is left and the run directory is readable."""

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from after_a_kill import environment_of, ports_of, processes_of, run_of, taken
from lab_process import ROOT, experiment_file

from harness.analysis.summary import facts_of, summarise
from harness.record.run_directory import read_run
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
    """Start a small run in `folder`. All its processes have the folder's name in their environment."""
    folder.mkdir()
    arguments = ["run", str(experiment_file(folder, **TINY)), "--results", str(folder / "results"), "--quiet"]
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run_experiment.py"), *arguments],
        env=environment_of(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_after(folder: Path, moment_s: float) -> list[str]:
    """Start a run, kill its harness after `moment_s`, and return the processes left after GONE_S."""
    lab = start(folder)
    try:
        lab.wait(moment_s)
    except subprocess.TimeoutExpired:
        lab.send_signal(signal.SIGKILL)
        lab.wait()
    deadline_s = time.monotonic() + GONE_S
    while (left := processes_of(folder)) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    return [str(process) for process in left]


def state(folder: Path) -> str:
    """Return the run's state: "absent", "empty" (nothing was measured yet), or its status."""
    run = run_of(folder)
    if run is None:
        return "absent"
    stored = read_run(run)
    told = summarise(stored, facts_of(stored)).status if stored.cells else "empty"
    assert stored.manifest.status in ("interrupted", "completed")
    assert told in (stored.manifest.status, "empty")
    return told


@pytest.mark.timeout(120 + 10 * MOMENTS)
def test_at_random_moments(tmp_path: Path) -> None:
    began_s = time.monotonic()
    assert start(tmp_path / "whole").wait(60) in (0, 3)
    whole_s = time.monotonic() - began_s
    rng = random.Random(SEED)
    # One moment in each of MOMENTS equal intervals of a run. Two runs at once take longer than one.
    moments = [1.3 * whole_s * (number + rng.random()) / MOMENTS for number in range(MOMENTS)]
    rng.shuffle(moments)
    folders = [tmp_path / f"moment-{number}" for number in range(MOMENTS)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        left = list(pool.map(kill_after, folders, moments))
    survivors = [f"{moment:.3f} s: {names}" for moment, names in zip(moments, left, strict=True) if names]
    assert not survivors, "these processes outlived the harness"
    ports = ports_of(folders)
    assert ports
    assert taken(ports) == set()
    states = {folder: state(folder) for folder in folders}
    for folder in sample(states):
        build_report(run_of(folder) or folder)
    if MOMENTS >= 50:  # the moments cover every stage of a run
        assert set(states.values()) == {"absent", "empty", "interrupted", "completed"}, states


def sample(states: dict[Path, str]) -> list[Path]:
    """Return two runs of each state that has a report. Making a report takes more than a second."""
    by_state = {state: [each for each in states if states[each] == state] for state in set(states.values())}
    return [folder for state in ("interrupted", "completed") for folder in by_state.get(state, [])[:2]]


def write(folder: Path, changes: int) -> int:
    done = subprocess.run(
        [sys.executable, "-B", str(HERE / "run_directory_writer.py"), str(folder), str(changes)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return done.returncode


def test_between_any_two_changes_of_the_run_directory(tmp_path: Path) -> None:
    """Random moments hardly ever hit these. The run directory must be complete or absent."""
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
        pytest.fail("the writer never finished")
    assert changes > 8
    assert [read_run(run).manifest.status for run in runs] == ["completed"]
