"""--testbed docker without an engine, without Compose, or with an engine on another machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import LabHere

ROOT = Path(__file__).resolve().parents[3]
ON_DOCKER = ("sticky", "--testbed", "docker")


def _run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "run_experiment.py"), *ON_DOCKER, *words],
        cwd=folder,
        env={**os.environ, "DOCKER_HOST": f"unix://{folder}/no.sock", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("", "--testbed docker: no Docker engine answers ("),
        ("tcp://127.0.0.1:1", "--testbed docker: no Docker engine answers ("),
        ("nonsense", "--testbed docker: no Docker engine answers ("),
    ],
)
def test_no_engine_is_one_line_and_leaves_nothing(host: str, told: str, tmp_path: Path) -> None:
    done = _run(tmp_path, "--results", "results", **({"DOCKER_HOST": host} if host else {}))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {told}")
    assert "start it, or leave --testbed out" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", [["--web"], ["--expect-workers", "1"]])
def test_options_that_do_not_fit_are_told_first(option: list[str], tmp_path: Path, lab_here: LabHere) -> None:
    status, _, err = lab_here(*ON_DOCKER, *option, cwd=tmp_path)
    assert status == 2
    assert err.startswith(f"error: {option[0]}: not with --testbed docker")
    assert not list(tmp_path.iterdir())
