"""A file system that is really full, and a results folder that is removed during a run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lab_process import ROOT, StartLab, experiment_file

LONG = {"warm_up_s": 0.2, "duration_s": 20, "rate_per_s": 600}
ONE_ARM = {"arm": {"route": "direct", "policy": "round_robin"}}


def small_disk(folder: Path, size: str) -> list[str]:
    """Return a command prefix that mounts a file system of that size on `folder`, for the command only."""
    script = f'mount -t tmpfs -o size={size} tmpfs "$0" && exec "$@"'
    own_user = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", "--mount", *own_user, "sh", "-c", script, str(folder)]


def may_mount(folder: Path) -> bool:
    folder.mkdir()
    try:
        return subprocess.run([*small_disk(folder, "1m"), "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("size", ["4k", "40k", "300k"])
def test_a_full_disk(size: str, tmp_path: Path) -> None:
    """The disk is full before the run directory exists, at the start of a cell, or while measuring."""
    folder = tmp_path / "disk"
    if not may_mount(folder):
        pytest.skip("mounting a file system is not allowed here")
    path = experiment_file(tmp_path, arms=ONE_ARM, workload=LONG)
    command = [sys.executable, "-B", str(ROOT / "run_experiment.py"), "run", str(path), "--quiet"]
    done = subprocess.run(
        [*small_disk(folder, size), *command, "--results", str(folder / "results")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    expected = 2 if size == "4k" else 4
    assert (done.returncode, done.stdout) == (expected, ""), done.stderr
    assert done.stderr.startswith("error: ")
    assert "unexpected" not in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("moment", ["starting", "measure"])
def test_the_results_folder_is_removed(moment: str, start_lab: StartLab, tmp_path: Path) -> None:
    lab = start_lab("run", experiment_file(tmp_path, arms=ONE_ARM, workload=LONG))
    lab.await_state(moment)
    shutil.rmtree(lab.results, ignore_errors=True)
    shutil.rmtree(lab.results, ignore_errors=True)  # what the run wrote during the first removal
    status, out, err = lab.end(40)
    assert (status, out) == (4, ""), err
    assert err.startswith("error: ")
    assert "unexpected" not in err
    assert err.count("\n") == 1
