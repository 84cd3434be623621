"""`--dask`: real workers compute the same as this machine, and every failure is one line."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import LabError, UserError
from harness.paths import ROOT
from harness.plan.advice import plan_fleet
from harness.plan.cells import plan_cells
from harness.plan.dask_pool import DaskPool, own_versions
from harness.plan.fleet_forecast import FleetForecast
from harness.plan.pool import ThisMachine
from harness.plan.question import FleetQuestion, Objective
from harness.run.simulated_cell import ComputedCells
from harness.spec.experiment import load_experiment
from tests.unit.cli.conftest import LabHere

distributed = pytest.importorskip("distributed", reason="the extra `dask` is not installed")

import tests.simulator.forecast_kernels  # noqa: E402
import tests.simulator.kernels  # noqa: E402, F401

QUESTION = FleetQuestion(
    clients=40, rate_per_s=100, skew=0.8, targets=4, service_ms=40, slots=2, seconds=3, placements=8,
    objective=Objective("p99", 400),
)  # fmt: skip
PATIENCE_S = 30.0


class Cluster:
    """A scheduler on a free port of 127.0.0.1, and workers as processes of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.workers: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        words = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        self._start(*words, "--scheduler-file", str(file))
        until(lambda: file.exists() and file.read_text().endswith("}"))
        self.address: str = json.loads(file.read_text())["address"]

    def add_worker(self) -> None:
        options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
        folder = ["--local-directory", str(self._folder)]
        self.workers.append(self._start("worker", self.address, *options, *folder))

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *words],
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._processes.append(process)
        return process

    def tasks(self) -> int:
        """Return how many tasks the scheduler knows."""
        with distributed.Client(self.address, set_as_default=False, timeout=5) as client:
            found: int = client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
            return found

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()


def until(happens: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not happens():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def leaves_of(value: Any) -> list[Any]:
    """Return all that a dataclass has, through the dataclasses in it; of arrays type and bytes."""
    if is_dataclass(value):
        return [leaf for field in fields(value) for leaf in leaves_of(getattr(value, field.name))]
    return [(value.dtype, value.tobytes())] if isinstance(value, np.ndarray) else [value]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    own = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        own.add_worker()
        own.add_worker()
        yield own
    finally:
        own.stop()


@pytest.fixture
def pool(cluster: Cluster) -> Iterator[DaskPool]:
    with DaskPool(cluster.address) as own:
        yield own


def test_a_plan_is_the_same_bit_for_bit(pool: DaskPool) -> None:
    assert plan_fleet(QUESTION, pool) == plan_fleet(QUESTION)


def test_simulated_cells_are_the_same_bit_for_bit(pool: DaskPool) -> None:
    experiment = load_experiment("sticky", {"workload.duration_s": 1, "repeats": 2})
    cells = plan_cells(experiment)
    found = ComputedCells(experiment, pool), ComputedCells(experiment, ThisMachine())
    for _ in zip(*(one.ahead(iter([cells])) for one in found), strict=True):
        for plan in cells:
            there, here = (one.next_cell() for one in found)
            assert leaves_of(there) == leaves_of(here), plan


def test_a_worker_with_another_version_is_refused_in_one_line(
    pool: DaskPool, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = {**own_versions(), "numba": "0.1"}
    monkeypatch.setattr("harness.plan.dask_pool.own_versions", lambda: versions)
    with pytest.raises(UserError) as caught:
        plan_fleet(QUESTION, pool)
    assert str(caught.value).startswith(f"--dask {cluster.address}: the worker tcp://127.0.0.1:")
    assert str(caught.value).endswith(
        f"has numba {version('numba')}, and this machine 0.1; install the same versions on all machines"
    )


def test_ctrl_c_leaves_no_task_on_the_cluster(cluster: Cluster, tmp_path: Path) -> None:
    words = ["plan", "--clients", "600", "--rate", "1500", "--targets", "12", "--service-time", "40ms"]
    words += ["--seconds", "10", "--placements", "200", "--svg", str(tmp_path / "a.svg")]
    words += ["--dask", cluster.address]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run_experiment.py"), *words], stderr=subprocess.PIPE, text=True
    )
    until(lambda: cluster.tasks() > 0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (130, "")
    until(lambda: cluster.tasks() == 0)


def test_a_scheduler_without_workers_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("harness.plan.dask_pool.WORKER_S", 0.2)
    alone = Cluster(tmp_path)
    try:
        with pytest.raises(UserError, match=r"^--dask tcp://.*: the scheduler has no worker; start one: "):
            DaskPool(alone.address)
    finally:
        alone.stop()


def test_no_scheduler_is_one_line(lab_here: LabHere, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("harness.plan.dask_pool.CONNECT_S", 0.3)
    address = f"127.0.0.1:{free_port()}"
    words = ["sticky", "--testbed", "simulated", "--results", str(tmp_path), "--dask", address]
    status, out, err = lab_here(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: --dask {address}: no scheduler can be reached: ")
    assert not list(tmp_path.iterdir())


def test_dask_repeats_what_a_dead_worker_had_and_without_workers_it_is_one_line(
    pool: DaskPool, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last test of this cluster."""
    forecast = FleetForecast(QUESTION, pool=pool)
    with pool._client.as_current():
        distributed.wait(forecast.draws)
    first, second = cluster.workers
    first.kill()
    assert forecast.outlook("sticky") == FleetForecast(QUESTION).outlook("sticky")
    monkeypatch.setattr("harness.plan.dask_pool.MAX_LOOKS", 1)
    second.kill()
    with pytest.raises(LabError, match=r"^--dask tcp://.*: no worker is left; see the workers' own output$"):
        forecast.outlook("sticky")
