"""Continuous integration: the hosted workflow, and the script that starts a Docker engine for it."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
# They replace programs that a machine may lack. The engine "runs" once dockerd has been started.
PROGRAMS = {
    "dockerd": 'touch "$STATE/started"; exec sleep 60',
    "docker": "[[ $1 != info || -e $STATE/started ]]",
    "docker-compose": "true",
    "debootstrap": "true",
}


def workflow() -> dict[str, Any]:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    return dict(YAML(typ="safe").load(text))


def test_the_workflow_runs_what_ci_runs() -> None:
    (job,) = workflow()["jobs"].values()
    assert job["steps"][-1] == {"run": ".ci/run"}
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert job["timeout-minutes"] == 60
    versions = [
        step["with"]["python-version"] for step in job["steps"] if "setup-python" in step.get("uses", "")
    ]
    assert versions == ["3.11"]


def test_the_workflow_may_only_read() -> None:
    assert workflow()["permissions"] == {"contents": "read"}
    (job,) = workflow()["jobs"].values()
    assert "permissions" not in job
    assert "secrets" not in (ROOT / ".github" / "workflows" / "ci.yml").read_text()


def test_tests_that_want_quiet_are_where_make_looks_for_them() -> None:
    (folders,) = re.findall(r"^REAL := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    marked = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"mark\.(alone|calm)\b", path.read_text())
    ]
    assert len(marked) > 10
    assert [path for path in marked if not path.startswith(tuple(folders.split()))] == []


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[int]:
    """The process id of a daemon that `.ci/docker-engine` started while its caller held a file open."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in PROGRAMS.items():
        (programs / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (programs / name).chmod(0o755)
    path, pid_file = f"{programs}:{os.environ['PATH']}", tmp_path / "pid"
    environment = {"PATH": path, "STATE": str(tmp_path)}
    with (tmp_path / "held").open("w") as held:
        command = [str(ROOT / ".ci" / "docker-engine"), str(pid_file)]
        subprocess.run(command, env=environment, pass_fds=[held.fileno()], check=True, timeout=20)
    pid = int(pid_file.read_text())
    while Path(f"/proc/{pid}/comm").read_text() != "sleep\n":  # until then it is the shell that starts it
        time.sleep(0.01)
    yield pid
    os.kill(pid, signal.SIGKILL)


def test_the_engine_inherits_no_open_file(daemon: int, tmp_path: Path) -> None:
    opened = {int(link.name): str(link.readlink()) for link in Path(f"/proc/{daemon}/fd").iterdir()}
    log = str(tmp_path / "pid.log")
    assert opened == {0: "/dev/null", 1: log, 2: log}
