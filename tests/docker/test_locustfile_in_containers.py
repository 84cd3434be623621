"""A Locust file as the load of an experiment in containers, in one process and in two."""

import json
from pathlib import Path

import docker
import pytest
from lab_process import ROOT, SMALL, Lab

pytestmark = pytest.mark.docker


def start_lab(folder: Path, *options: str) -> Lab:
    folder.mkdir()
    tasks = folder / "mine.py"
    tasks.write_text((ROOT / "load" / "locustfile.py").read_text())
    tasks.chmod(0o600)  # the user in the containers is another one
    work = {"locustfile": "mine.py", "users": 5, "warm_up_s": 0.2, "duration_s": 2}
    arms = {"sticky": SMALL["arms"]["sticky"]}
    path = folder / "own.yaml"
    path.write_text(json.dumps({**SMALL, "workload": work, "arms": arms, "expect": []}))
    return Lab(folder, ("run", path, "--testbed", "docker", "--redo", "0", *options))


def test_its_calls_are_in_the_three_ledgers(engine: docker.DockerClient, image: str, tmp_path: Path) -> None:
    labs = [start_lab(tmp_path / "one"), start_lab(tmp_path / "two", "--processes", "2")]
    for lab, ended in zip(labs, [lab.end(150) for lab in labs], strict=True):
        check(lab, *ended)


def check(lab: Lab, status: int, out: str, err: str) -> None:
    assert status == 0, out + err
    summary = json.loads((lab.run / "summary.json").read_text())
    assert (summary["invalid_reasons"], summary["verdict"]) == ([], "measured")
    assert summary["arms"]["sticky"]["ledgers"]["reconciled"] is True
    assert set(lab.rows("sticky")["client"]) == set(range(5))
    assert [file.relative_to(lab.run) for file in lab.run.rglob("mine.py")] == [Path("mine.py")]
