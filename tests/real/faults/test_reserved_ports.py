"""While a replica is down, its port refuses connections and no other process can use it."""

import errno
import socket
import time
from pathlib import Path

import pytest
from lab_process import experiment_file

from harness.plan.cells import plan_cells
from harness.spec.experiment import load_experiment
from harness.testbed.local.fleet import LocalFleet
from harness.testbed.local.testbed import LocalTestbed

ARMS = {"arm": {"route": "direct", "policy": "round_robin"}}


def connect(host: str, port: int) -> int:
    with socket.socket() as caller:
        return caller.connect_ex((host, port))


def restart(fleet: LocalFleet, name: str) -> None:
    fleet.start(name)
    deadline_s = time.monotonic() + 20
    while not fleet.ready(name):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_the_port_of_a_killed_replica_stays_reserved(tmp_path: Path) -> None:
    experiment = load_experiment(str(experiment_file(tmp_path, arms=ARMS)))
    with LocalTestbed(tmp_path / "logs", load=False) as testbed:
        live = testbed.start_cell(experiment, plan_cells(experiment)[0], tmp_path, time.monotonic_ns())
        fleet, address = testbed.fleet, live.replicas["replica-1"]
        host, port = address.split(":")
        fleet.kill("replica-1")
        while fleet.running("replica-1"):
            time.sleep(0.005)
        assert connect(host, int(port)) == errno.ECONNREFUSED
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((host, int(port)))
        restart(fleet, "replica-1")
        assert live.replicas["replica-1"] == address
        assert connect(host, int(port)) == 0
    # After the cell, any process can use the port.
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((host, int(port)))
