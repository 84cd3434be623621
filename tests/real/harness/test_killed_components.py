"""The run fails when a component dies: exit status 4, an error that names its log, no process left."""

import json
import re
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest
from lab_process import Lab, StartLab, experiment_file

from harness.errors import LabError
from harness.plan.cells import plan_cells
from harness.proxy import render
from harness.spec.experiment import load_experiment
from harness.testbed.local.testbed import LocalTestbed

ONE_ARM = {"arm": {"route": "envoy", "policy": "round_robin"}}
LONG = {"warm_up_s": 0.2, "duration_s": 30}


def assert_failed(lab: Lab, message: str) -> None:
    """Check that the run ended with status 4 and one line that matches `message` and names a log."""
    status, out, err = lab.end(15)
    assert (status, out) == (4, ""), err
    assert err.count("\n") == 1
    assert re.search(message, err), err
    named = re.search(r"see (\S+\.log)", err)
    assert named is not None, err
    assert Path(lab.results.parent, named[1]).exists()
    manifest = lab.manifest
    assert manifest["status"] == "failed"
    assert manifest["error"] is not None
    assert manifest["error"] in err


@pytest.mark.parametrize("name", ["replica-1", "envoy", "load"])
def test_a_component_killed_while_measuring(name: str, start_lab: StartLab, tmp_path: Path) -> None:
    lab = start_lab("run", experiment_file(tmp_path, arms=ONE_ARM, workload=LONG))
    cell = lab.await_state("measure")
    lab.component(name).send_signal(signal.SIGKILL)
    assert_failed(lab, rf"{name}.* was killed by SIGKILL|the load failed \(status -9\)")
    assert json.loads((cell / "cell.json").read_text())["status"] == "failed"
    # The rows measured until then are kept and can be read.
    assert lab.rows("arm").height > 0


def test_a_load_that_somebody_else_stops_while_measuring(start_lab: StartLab, tmp_path: Path) -> None:
    lab = start_lab("run", experiment_file(tmp_path, arms=ONE_ARM, workload=LONG))
    lab.await_state("measure")
    lab.component("load").send_signal(signal.SIGTERM)
    assert_failed(lab, "the load got SIGTERM")
    assert lab.rows("arm").height > 0


@pytest.mark.parametrize("name", ["replica-0", "envoy"])
def test_a_component_killed_at_the_start_of_a_cell(name: str, start_lab: StartLab, tmp_path: Path) -> None:
    lab = start_lab("run", experiment_file(tmp_path, arms=ONE_ARM, workload=LONG))
    lab.await_component(name).send_signal(signal.SIGKILL)
    assert_failed(lab, f"(?i){name}")


@pytest.mark.parametrize("number", [0, 1])
def test_a_fork_server_killed_while_measuring(number: int, start_lab: StartLab, tmp_path: Path) -> None:
    lab = start_lab("run", experiment_file(tmp_path, arms=ONE_ARM, workload=LONG))
    cell = lab.await_state("measure")
    children = psutil.Process(lab.process.pid).children()
    servers = sorted(child.pid for child in children if "harness.testbed.forkserver" in child.cmdline())
    psutil.Process(servers[number]).send_signal(signal.SIGKILL)
    assert_failed(lab, "the fork server has died")
    assert json.loads((cell / "cell.json").read_text())["status"] == "failed"
    assert (cell / "requests.parquet").exists()


def start_cell_of(tmp_path: Path) -> None:
    experiment = load_experiment(str(experiment_file(tmp_path, arms=ONE_ARM)))
    with LocalTestbed(tmp_path / "logs", load=False) as testbed:
        testbed.start_cell(experiment, plan_cells(experiment)[0], tmp_path, time.monotonic_ns())


def test_a_replica_that_cannot_start(tmp_path: Path) -> None:
    (tmp_path / "replica-1.csv").mkdir()  # at the path of its ledger
    with pytest.raises(LabError, match=r"replica-1 exited \(status 1\); see .*/logs/replica-1\.log"):
        start_cell_of(tmp_path)
    assert "cannot write the ledger" in (tmp_path / "logs" / "replica-1.log").read_text()


def test_an_envoy_that_refuses_its_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    templates = tmp_path / "templates"
    shutil.copytree(render.ENVOY_TEMPLATES, templates)
    broken = templates / "proxy.yaml.j2"
    broken.write_text(broken.read_text().replace("connect_timeout: 1s", "conect_timeout: 1s"))
    monkeypatch.setattr(render, "ENVOY_TEMPLATES", templates)
    with pytest.raises(LabError, match=r"envoy exited \(status 1\); see .*/logs/envoy\.log"):
        start_cell_of(tmp_path)
    assert "conect_timeout" in (tmp_path / "logs" / "envoy.log").read_text()
