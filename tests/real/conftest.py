"""Fixtures that start replicas, testbeds and whole runs, and check that no process outlives its test."""

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from lab_process import MARK, Lab, StartCell, StartLab, experiment_file
from replica_process import MODULE, Server, StartReplica, start_server

from harness.plan.cells import plan_cells
from harness.spec.experiment import load_experiment
from harness.testbed.base import LiveCell
from harness.testbed.local.testbed import LocalTestbed
from harness.testbed.processes import ProcessFamily

ENDS_WITHIN_S = 10.0  # on a busy machine


@pytest.fixture(autouse=True)
def _nothing_outlives_the_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail if a process that the test started still runs. Such processes inherit the test's mark."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    yield
    left = _marked_processes(mark)
    deadline_s = time.monotonic() + ENDS_WITHIN_S
    while left and time.monotonic() < deadline_s:  # children of a killed process need a moment to end
        time.sleep(0.05)
        left = _marked_processes(mark)
    descriptions = [f"{process.pid} {process.status()} {process.cmdline()}" for process in left]
    for process in left:
        process.kill()
    assert not descriptions, "these processes outlived the test"


def _marked_processes(mark: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _has_mark(process, mark)]


def _has_mark(process: psutil.Process, mark: str) -> bool:
    try:
        return process.pid != os.getpid() and process.environ().get(MARK) == mark
    except psutil.Error:  # it has ended, is a zombie, or belongs to another user
        return False


@pytest.fixture(scope="session")
def replicas_family(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessFamily]:
    """The fork server of the replicas of all tests: each fork has imported what a replica needs."""
    family = ProcessFamily(MODULE, {}, tmp_path_factory.mktemp("replicas") / "forkserver.log")
    yield family
    family.close()


@pytest.fixture
def start_replica(tmp_path: Path, replicas_family: ProcessFamily) -> Iterator[StartReplica]:
    servers: list[Server] = []

    def start(*options: str, **settings: object) -> Server:
        servers.append(start_server(tmp_path, len(servers), *options, family=replicas_family, **settings))
        return servers[-1]

    yield start
    for server in servers:
        server.channel.close()
        if server.control_channel:
            server.control_channel.close()
        server.process.kill()
        server.process.communicate()


@pytest.fixture
def server(start_replica: StartReplica) -> Server:
    return start_replica()


@pytest.fixture(scope="session")
def cells_testbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTestbed]:
    with LocalTestbed(tmp_path_factory.mktemp("cells") / "logs", load=False) as testbed:
        yield testbed


@pytest.fixture
def start_cell(tmp_path: Path, cells_testbed: LocalTestbed) -> Iterator[StartCell]:
    """Starts the replicas of one cell on the local testbed, and Envoy if the route has a proxy."""
    started: list[LiveCell] = []

    def start(route: str, policy: str, **replicas: object) -> LiveCell:
        arms = {"arm": {"route": route, "policy": policy}}
        path = experiment_file(tmp_path, arms=arms, replicas=replicas)
        experiment = load_experiment(str(path))
        plan = plan_cells(experiment)[0]
        started.append(cells_testbed.start_cell(experiment, plan, tmp_path, time.monotonic_ns()))
        return started[-1]

    yield start
    if started:
        fleet = cells_testbed.fleet
        for name in fleet.processes:
            fleet.kill(name)  # quicker than a stop, in which open calls may finish
        cells_testbed.stop_cell()
        assert all(process.status is not None for process in fleet.processes.values())


@pytest.fixture
def start_lab(tmp_path: Path) -> Iterator[StartLab]:
    """Starts `python run_experiment.py ...`; its run directories are below tmp_path / "results"."""
    labs: list[Lab] = []

    def start(*arguments: object) -> Lab:
        labs.append(Lab(tmp_path, arguments))
        return labs[-1]

    yield start
    for lab in labs:
        lab.process.kill()
        lab.process.communicate()
