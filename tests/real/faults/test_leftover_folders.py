"""Temporary folders with keys and secrets: no killed process leaves one, and nobody else's is touched."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from lab_process import ROOT, Lab, StartLab, experiment_file, free_port

GONE_S = 10.0
SCRATCH = "lb-lab-*"


@pytest.fixture(autouse=True)
def tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files of the processes of a test."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.delenv("LB_LAB_WORKER_SECRET", raising=False)
    return folder


def wait_until(condition: Callable[[], object], seconds: float = GONE_S) -> bool:
    deadline_s = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.02)
    return True


def start_up(start_lab: StartLab, folder: Path, tmp: Path) -> tuple[Lab, Path]:
    """Start `up` and return it with the folder that has its key."""
    before = set(tmp.glob(SCRATCH))
    lab = start_lab("up", experiment_file(folder))
    assert lab.process.stdout is not None
    assert lab.process.stdout.readline()  # the addresses
    (scratch,) = set(tmp.glob(SCRATCH)) - before
    assert (scratch / "tls" / "key.pem").exists()
    return lab, scratch


def guards(lab: Lab) -> list[psutil.Process]:
    return [child for child in lab.family() if any("guard.py" in word for word in child.cmdline())]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_up_leaves_no_key(number: int, start_lab: StartLab, tmp_path: Path, tmp: Path) -> None:
    lab, scratch = start_up(start_lab, tmp_path, tmp)
    assert scratch.stat().st_mode & 0o777 == 0o700
    lab.process.send_signal(number)
    lab.process.wait(GONE_S)
    assert wait_until(lambda: not scratch.exists()), sorted(scratch.rglob("*"))
    assert list(tmp.iterdir()) == []


def test_the_next_start_removes_what_a_killed_guard_left(
    start_lab: StartLab, tmp_path: Path, tmp: Path
) -> None:
    living, kept = start_up(start_lab, tmp_path, tmp)
    dead, left = start_up(start_lab, tmp_path, tmp)
    for process in [*guards(dead), psutil.Process(dead.process.pid)]:
        process.kill()
    dead.process.wait(GONE_S)
    assert (left / "tls" / "key.pem").exists()
    run = start_lab("run", experiment_file(tmp_path))
    status, _, err = run.end()
    assert status == 0, err
    assert not left.exists()
    assert (kept / "tls" / "key.pem").exists()
    assert living.process.poll() is None


def test_the_secret_of_a_killed_run_is_removed(start_lab: StartLab, tmp_path: Path, tmp: Path) -> None:
    options = ("--expect-workers", 1, "--master-bind-port", free_port())
    lab = start_lab("run", experiment_file(tmp_path), *options)
    assert wait_until(lambda: list(tmp.glob("lb-lab-worker-secret-*/secret")))
    lab.process.kill()
    lab.process.wait(GONE_S)
    assert wait_until(lambda: not list(tmp.iterdir())), list(tmp.rglob("*"))


@pytest.fixture
def dead_owner() -> str:
    """The mark of a process that has ended."""
    code = "from harness.leftovers.owner import owner; print(owner())"
    words = [sys.executable, "-c", code]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def test_nobody_elses_folder_is_touched(
    start_lab: StartLab, tmp_path: Path, tmp: Path, dead_owner: str
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    left = tmp / f"lb-lab-up-{dead_owner}-abcdefgh"
    left.mkdir()
    kept = [tmp / "lb-lab-abcdefgh", tmp / "lb-lab-results", tmp / f"lb-lab-up-{dead_owner}"]
    for folder in kept:
        folder.mkdir()
    link = tmp / f"lb-lab-up-{dead_owner}-linklink"
    link.symlink_to(precious)
    file = tmp / f"lb-lab-up-{dead_owner}-filefile"
    file.write_text("a file")
    (left / "way_out").symlink_to(precious)
    if os.getuid() == 0:
        foreign = tmp / f"lb-lab-up-{dead_owner}-foreign_"
        foreign.mkdir()
        os.chown(foreign, 12345, 12345)
        kept.append(foreign)
    status, _, err = start_lab("run", experiment_file(tmp_path)).end()
    assert status == 0, err
    assert sorted(tmp.iterdir()) == sorted([*kept, link, file])
    assert (precious / "file").read_text() == "mine"
