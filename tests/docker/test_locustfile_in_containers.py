"""A Locust file as the load of an experiment in containers, in one process and in two."""

import json
from pathlib import Path

import docker
import pytest
from lab_process import ROOT, SMALL, Lab

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("options", [(), ("--processes", "2")])
def test_its_calls_are_in_the_three_ledgers(
    engine: docker.DockerClient, tmp_path: Path, options: tuple[str, ...]
) -> None:
    tasks = tmp_path / "mine.py"
    tasks.write_text((ROOT / "load" / "locustfile.py").read_text())
    tasks.chmod(0o600)  # the user in the containers is another one
    work = {"locustfile": "mine.py", "users": 5, "warm_up_s": 0.2, "duration_s": 2}
    arms = {"sticky": SMALL["arms"]["sticky"]}
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps({**SMALL, "workload": work, "arms": arms, "expect": []}))
    lab = Lab(tmp_path, ("run", path, "--testbed", "docker", "--redo", "0", *options))
    status, out, err = lab.end(120)
    assert status == 0, out + err
    summary = json.loads((lab.run / "summary.json").read_text())
    assert (summary["invalid_reasons"], summary["verdict"]) == ([], "measured")
    assert summary["arms"]["sticky"]["ledgers"]["reconciled"] is True
    assert set(lab.rows("sticky")["client"]) == set(range(5))
    assert [file.relative_to(lab.run) for file in lab.run.rglob("mine.py")] == [Path("mine.py")]
