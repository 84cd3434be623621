"""A component is killed in warm-up, before the load is ready, or while it stops.

tests/real/harness/test_killed_components.py kills components at the start of a cell and while measuring.
"""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from lab_process import Lab, StartLab, experiment_file

ARM = {"arm": {"route": "envoy", "policy": "round_robin"}}
LONG_WARM_UP = {"warm_up_s": 30, "duration_s": 1}
SERVERS = ["replica-1", "envoy"]


def assert_failed(lab: Lab, message: str) -> str:
    """Check that the run ended with status 4 and one line that names an existing log."""
    status, out, err = lab.end(20)
    assert (status, out) == (4, ""), err
    assert err.count("\n") == 1
    assert re.search(message, err), err
    log = re.search(r"see (\S+\.log)", err)
    assert log is not None, err
    assert Path(lab.results.parent, log[1]).exists()
    assert lab.manifest["status"] == "failed"
    return err


@pytest.mark.parametrize("name", [*SERVERS, "load"])
def test_a_component_killed_in_warm_up(name: str, start_lab: StartLab, tmp_path: Path) -> None:
    lab = start_lab("run", experiment_file(tmp_path, arms=ARM, workload=LONG_WARM_UP))
    cell = lab.await_state("warm_up")
    time.sleep(0.3)
    lab.component(name).kill()
    assert_failed(lab, rf"{name} was killed by SIGKILL|the load failed \(status -9\)")
    assert json.loads((cell / "cell.json").read_text())["status"] == "failed"
    assert lab.rows("arm").height > 0


def test_a_load_killed_before_it_is_ready(start_lab: StartLab, tmp_path: Path) -> None:
    lab = start_lab("run", experiment_file(tmp_path, arms=ARM, workload=LONG_WARM_UP))
    lab.await_component("load").kill()
    assert_failed(lab, r"the load failed \(status -9\)")


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_killed_while_it_stops(name: str, start_lab: StartLab, tmp_path: Path) -> None:
    """Its ledger is complete: a replica writes a row before it sends the answer, and Envoy within 100 ms."""
    # One attempt: a fork server that is suspended for long is a reason to measure again.
    lab = start_lab("run", experiment_file(tmp_path, arms=ARM), "--redo", 0)
    cell = lab.await_state("measure")
    process = lab.component(name)
    fork_server = process.parent()
    assert fork_server is not None
    fork_server.suspend()  # it forwards SIGTERM; while it is suspended, SIGKILL arrives first
    while not (cell / "envoy" / "clusters.after.json").exists() or not envoy_wrote_all(cell):
        assert lab.process.poll() is None, lab.end()
        time.sleep(0.005)
    process.kill()
    fork_server.resume()
    assert_reconciled(lab, *lab.end())


def envoy_wrote_all(cell: Path) -> bool:
    """Say whether Envoy's log has the rows of all requests.

    Envoy keeps them in memory for 100 ms, or longer on a busy machine, and loses them if it is killed.
    """
    header = 1
    requests = (cell / "requests.csv").read_bytes().count(b"\n") - header
    return (cell / "access.log").read_bytes().count(b"\n") >= requests


def assert_reconciled(lab: Lab, status: int, out: str, err: str) -> None:
    assert status in (0, 3), out + err  # 3: the generator lagged on a busy machine
    summary: dict[str, Any] = json.loads((lab.run / "summary.json").read_text())
    assert summary["status"] == "completed"
    assert summary["arms"]["arm"]["ledgers"]["reconciled"], summary["arms"]["arm"]["ledgers"]
