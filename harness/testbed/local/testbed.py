"""The local testbed: replicas, Envoy and the load are processes on this machine, on loopback addresses."""

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import LabError
from harness.plan.cells import CellPlan
from harness.proxy.tls import TlsFiles
from harness.spec.experiment import Experiment
from harness.testbed.base import LiveCell
from harness.testbed.cell_context import CellContext
from harness.testbed.load_process import LoadProcess
from harness.testbed.local.fleet import LocalFleet
from harness.testbed.processes import Process, ProcessFamily
from harness.testbed.startup import start_components

READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 1.0
POLL_S = 0.005


class LocalTestbed:
    """Owns all processes of a run. Enter it in the main thread.

    `logs`: the folder for the fork servers' log. `load`: whether a load process will be started. `tls`: with
    it, replicas and Envoy speak TLS in addition to clear text.
    """

    def __init__(self, logs: Path, load: bool = True, tls: TlsFiles | None = None) -> None:
        self._logs = logs
        self._tls = tls
        self._with_load = load
        self._family: ProcessFamily | None = None
        self._load: LoadProcess | None = None
        self._fleet: LocalFleet | None = None

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / "forkserver.log"
        try:
            self._family = ProcessFamily("services.replica", {}, log)
            if self._with_load:
                # The load has its own fork server: the imports run on two cores, and Locust's take longest.
                self._load = LoadProcess(log)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _servers(self) -> ProcessFamily:
        assert self._family is not None
        return self._family

    def start_cell(self, experiment: Experiment, plan: CellPlan, folder: Path, epoch_ns: int) -> LiveCell:
        """See Testbed."""
        (folder / "logs").mkdir(exist_ok=True)
        if self._fleet is not None:
            self.stop_cell()
        context = CellContext(experiment, plan, folder, epoch_ns, self._tls)
        self._fleet = fleet = LocalFleet(context, self._servers)
        return start_components(fleet, experiment.replicas.names, self._await)

    @property
    def fleet(self) -> LocalFleet:
        """See Testbed."""
        assert self._fleet is not None
        return self._fleet

    def start_load(self, order: Path, folder: Path) -> Process:
        """See Testbed."""
        assert self._load is not None
        return self._load.start(order, folder)

    @property
    def load_pid(self) -> int:
        """Process id of the load process that was started last."""
        assert self._load is not None
        return self._load.pid

    def load_status(self) -> int | None:
        """See Testbed."""
        assert self._load is not None
        status = self._load.status()
        self.check()
        return status

    def stop_load(self) -> None:
        """See Testbed."""
        if self._load is not None:
            self._load.stop()

    def stop_cell(self) -> None:
        """See Testbed."""
        if self._fleet is not None:
            self._servers.end(self._fleet.processes, STOP_TIMEOUT_S)
            self._fleet.close()
        self._fleet = None

    def close(self) -> None:
        """Stop all processes, whatever state the testbed is in."""
        for owned in (self._family, self._load, self._fleet):
            if owned is not None:
                owned.close()
        self._family = self._load = None

    def check(self) -> None:
        """Raise LabError, with the log's path, if a replica or the proxy ended unexpectedly."""
        self._servers.read_messages()
        for process in self.fleet.processes:
            if process.status is not None and not process.end_expected:
                raise LabError(process.describe_end())

    def _await(self, ready: Callable[[], bool], name: str) -> None:
        """Wait until `ready()`. Raises LabError when a component dies or `name` is not ready in time."""
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not ready():
            self.check()
            if time.monotonic() > deadline_s:
                log = next(process.log for process in self.fleet.processes if process.name == name)
                raise LabError(f"{name} was not ready after {READY_TIMEOUT_S:g} s; see {log}")
            time.sleep(POLL_S)
