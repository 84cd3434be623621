"""The docker testbed: replicas, Envoy and the load are containers in a network of their own on this machine.

Compose makes the containers of a cell, the docker library does the rest. The cell's folder has the same path
inside as outside, and the monotonic clock is one (all are processes of one kernel), so that a run directory
is as it is with processes.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import LabError
from harness.paths import ROOT
from harness.plan.cells import CellPlan
from harness.record.usage import USAGE_FILE
from harness.spec.experiment import Experiment
from harness.testbed.base import LiveCell
from harness.testbed.bring_up import bring_up
from harness.testbed.cell_context import CellContext
from harness.testbed.docker.compose import create, service, write_compose
from harness.testbed.docker.container import ENGINE_ERRORS, EndWatch, Part, engine_call
from harness.testbed.docker.container_pids import host_pids
from harness.testbed.docker.engine import (
    OWNER,
    LabNetwork,
    ensure_image,
    make_network,
    owner,
    remove_all,
    remove_leftovers,
)
from harness.testbed.docker.fleet import DockerFleet
from harness.testbed.docker.host import LAB_USER, DockerHost
from harness.testbed.docker.usage import UsageWatch
from harness.testbed.processes import Process

READY_TIMEOUT_S = 40.0
STOP_TIMEOUT_S = 2.0
POLL_S = 0.01


class DockerTestbed:
    """Owns all containers of a run. `logs`: the folder for what is not of one cell."""

    def __init__(self, host: DockerHost, logs: Path) -> None:
        self._logs = logs
        self._client, self._compose, self._user = host.client, host.compose, host.user
        self._closing = ExitStack()
        self._parts: dict[str, Part] = {}
        self._fleet: DockerFleet | None = None
        self._load: Part | None = None
        self._usage: UsageWatch | None = None
        self._cells = 0

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        try:
            self._enter()
        except BaseException:
            self.close()
            raise
        return self

    def _enter(self) -> None:
        self._closing.callback(self._client.close)
        remove_leftovers(self._client)
        self._image = ensure_image(self._client, lambda line: print(line, file=sys.stderr))
        self._closing.callback(self._remove)
        self._guard()
        self._project = f"lb-lab-{os.getpid()}-{os.urandom(3).hex()}"
        self._network: LabNetwork = make_network(self._client, self._project)
        folder = self._closing.enter_context(tempfile.TemporaryDirectory(prefix="lb-lab-"))
        self._sockets = Path(folder)
        self._own([self._sockets])
        self._watch = EndWatch(f"{OWNER}={owner()}", self._parts)
        self._closing.callback(self._watch.close)

    def _guard(self) -> None:
        """Start the process that takes the containers down should this one be killed."""
        with (self._logs / "docker-guard.log").open("ab") as log:
            guard = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "harness.testbed.docker.guard", owner()],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                start_new_session=True,
            )
        assert guard.stdin is not None
        self._closing.callback(guard.wait)
        self._closing.callback(guard.stdin.close)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start_cell(self, experiment: Experiment, plan: CellPlan, folder: Path, epoch_ns: int) -> LiveCell:
        """See Testbed."""
        (folder / "logs").mkdir(exist_ok=True)
        (folder / "envoy").mkdir(exist_ok=True)
        self._own([folder, *folder.iterdir()])
        if self._fleet is not None:
            self.stop_cell()
        context = CellContext(experiment, plan, folder, epoch_ns, None)
        self._fleet = fleet = DockerFleet(context, self._network, self._client, self._sockets)
        self._create(fleet, context)
        return bring_up(fleet, experiment.replicas.names, self._await)

    def _create(self, fleet: DockerFleet, context: CellContext) -> None:
        """Have Compose make all containers that the cell will need, and find them."""
        commands = fleet.commands() | {"load": ["python", "-m", "load.main", str(_order(context.folder))]}
        services = {}
        for name, command in commands.items():
            folders = [context.folder, *([self._sockets] if name == "envoy" else [])]
            services[name] = service(command, fleet.place(name), self._user, folders)
        compose_file = context.folder / "compose.json"
        write_compose(compose_file, services, self._network)
        self._cells += 1
        project = f"{self._project}-{self._cells}"
        create(self._compose, compose_file, project, self._image, self._logs / "compose.log")
        found = self._client.containers.list(
            all=True, filters={"label": f"com.docker.compose.project={project}"}
        )
        for container in found:
            name = container.labels["com.docker.compose.service"]
            part = Part(name, container, context.log(name))
            self._parts[str(container.id)] = part
            fleet.parts[name] = part
        if missing := set(commands) - set(fleet.parts):
            raise LabError(
                f"Compose did not create {', '.join(sorted(missing))}; see {self._logs}/compose.log"
            )

    @property
    def fleet(self) -> DockerFleet:
        """See Testbed."""
        assert self._fleet is not None
        return self._fleet

    def start_load(self, order: Path, folder: Path) -> Process:
        """See Testbed."""
        assert order == _order(folder)
        fleet = self.fleet
        self._load = fleet.parts["load"]
        engine_call("start the load", self._load.container.start)
        fleet.live.pids |= host_pids(fleet.parts.values())
        self._usage = UsageWatch(list(fleet.parts.values()), folder / USAGE_FILE, fleet.epoch_ns)
        return self._load.state

    def load_status(self) -> int | None:
        """See Testbed."""
        assert self._load is not None
        self.check()
        return self._load.state.status

    def stop_load(self) -> None:
        """See Testbed."""
        if self._usage is not None:
            self._usage.end()
        if self._load is not None:
            self._end([self._load])

    def stop_cell(self) -> None:
        """See Testbed."""
        if self._fleet is None:
            return
        fleet, parts = self._fleet, self._fleet.parts
        self._end([part for name, part in parts.items() if name != "load"])
        if self._usage is not None:
            self._usage.close()
            self._usage = None
        fleet.each(lambda name: parts[name].save_log(), list(parts))
        fleet.each(lambda name: parts[name].remove(), list(parts))
        fleet.close()
        self._parts.clear()
        self._fleet = None
        self._load = None

    def close(self) -> None:
        """Remove everything. Whatever state the testbed is in, the engine has nothing of it afterwards."""
        if self._fleet is not None:
            self._fleet.close()
        self._closing.close()

    def _remove(self) -> None:
        try:
            remove_all(self._client, owner())
        except ENGINE_ERRORS as error:
            told = "the Docker engine has gone; what it still has of this run is removed at the next start"
            raise LabError(told) from error

    def _end(self, parts: list[Part]) -> None:
        """Ask all that run to end, and kill those that do not in time."""
        # DockerException, LabError: the engine has gone, or has removed them.
        try:
            self._end_by(parts, signal.SIGTERM)
            self._end_by(parts, signal.SIGKILL)
        except (*ENGINE_ERRORS, LabError):
            return

    def _end_by(self, parts: list[Part], number: signal.Signals) -> None:
        running = [part for part in parts if part.state.status is None]
        for part in running:
            part.state.may_end = True
            part.container.reload()
            if part.container.status == "paused":
                part.container.unpause()
            if part.container.status in ("created", "exited"):
                part.ended(0)
            else:
                engine_call(f"end {part.name}", part.container.kill, number.name)
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        while any(part.state.status is None for part in running) and time.monotonic() < deadline_s:
            time.sleep(POLL_S)

    def check(self) -> None:
        """Raise LabError naming the log of a part that has died and was not to."""
        self._watch.check()
        self.fleet.check()
        for part in self.fleet.parts.values():
            if part.state.status is not None and not part.state.may_end and part is not self._load:
                part.save_log()
                raise LabError(part.state.died())

    def _await(self, ready: Callable[[], bool], name: str) -> None:
        """Look until it is ready. Raises LabError when a part dies or time runs out."""
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not ready():
            self.check()
            if time.monotonic() > deadline_s:
                part = self.fleet.parts[name]
                part.save_log()
                raise LabError(f"{name} was not ready after {READY_TIMEOUT_S:g} s; see {part.state.log}")
            time.sleep(POLL_S)

    def _own(self, paths: list[Path]) -> None:
        """Let the containers' user write there, where that is another user."""
        if self._user == f"{LAB_USER}:{LAB_USER}":
            for path in paths:
                os.chown(path, LAB_USER, LAB_USER)


def _order(folder: Path) -> Path:
    """The load's order in a cell's folder, which its container is told before it is written."""
    return folder / "load-order.json"
