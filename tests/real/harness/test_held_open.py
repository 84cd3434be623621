"""`up`: the addresses that it prints work, and Ctrl-C leaves nothing behind."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lab_process import ROOT, Lab, StartLab, experiment_file


def guide(lab: Lab) -> str:
    """What `up` prints until it waits."""
    assert lab.process.stdout is not None
    lines = []
    for line in lab.process.stdout:
        lines.append(line)
        if line.startswith("Ctrl-C"):
            return "".join(lines)
    raise AssertionError(lab.end())


def driver_line(text: str) -> list[str]:
    found = re.search(r"^ +python (-m lb\.driver .*)$", text, re.M)
    assert found is not None, text
    return [sys.executable, *found[1].split()]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.mark.parametrize(("arm", "parts"), [("sticky", 4), ("client", 3)])
def test_what_it_prints_works(
    arm: str, parts: int, start_lab: StartLab, tmp_path: Path, temporary: Path
) -> None:
    arms = {
        "client": {"route": "direct", "policy": "round_robin"},
        "sticky": {"route": "envoy", "policy": "sticky"},
    }
    lab = start_lab("up", experiment_file(tmp_path, arms=arms), "--arm", arm)
    told = guide(lab)
    assert len(re.findall(r"^  (?:envoy|replica-\d) +127\.0\.0\.1:\d+", told, re.M)) == parts
    done = subprocess.run(driver_line(told), cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "codes: OK 100" in done.stdout
    family = lab.family()
    lab.process.send_signal(signal.SIGINT)
    status, _, err = lab.end(15)
    assert (status, err) == (0, "")
    assert not [process for process in family if process.is_running()]
    assert list(temporary.iterdir()) == []
    assert not lab.results.exists()


def test_a_part_that_dies_meanwhile_ends_it(start_lab: StartLab, tmp_path: Path, temporary: Path) -> None:
    lab = start_lab("up", experiment_file(tmp_path))
    guide(lab)
    lab.part("envoy").send_signal(signal.SIGKILL)
    status, _, err = lab.end(15)
    assert status == 4
    assert err.startswith("error: envoy was killed by SIGKILL")
    assert list(temporary.iterdir()) == []
