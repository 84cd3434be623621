"""The docker testbed: replicas, Envoy and the load are containers on this machine, in their own network.

Compose creates the containers of a cell; the docker library does the rest. The cell's folder has the same
path inside and outside the containers. All containers share the kernel's monotonic clock. Therefore a run
directory has the same content as one of the local testbed.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import docker

from harness.errors import LabError, UserError
from harness.leftovers.owner import owner
from harness.leftovers.scratch import scratch_folder
from harness.output.safe_text import say
from harness.paths import ROOT
from harness.plan.cells import CellPlan
from harness.plan.run_options import RunOptions
from harness.record.usage import USAGE_FILE
from harness.spec.experiment import Experiment
from harness.testbed.base import LiveCell
from harness.testbed.cell_context import CellContext
from harness.testbed.docker import engine
from harness.testbed.docker.compose import compose_command, create, service, write_compose
from harness.testbed.docker.container import (
    ENGINE_ERRORS,
    CellContainer,
    ExitWatch,
    UsageWatch,
    engine_call,
    host_pids,
)
from harness.testbed.docker.fleet import DockerFleet, confirm_socket_path
from harness.testbed.processes import Process
from load.order import LoadOrder

READY_TIMEOUT_S = 40.0
STOP_TIMEOUT_S = 2.0
POLL_S = 0.01
LAB_USER = 10001  # the user of the image


@dataclass(frozen=True)
class DockerHost:
    """What the testbed needs: a client of the engine, the Compose command, and the user in the containers."""

    client: docker.DockerClient
    compose: list[str]
    user: str

    @classmethod
    def find(cls, options: RunOptions) -> Self:
        """Find engine and Compose. Raises UserError if one is missing or an option does not fit."""
        if options.web or options.load.expect_workers:
            option = "--web" if options.web else "--expect-workers"
            raise UserError(f"{option}: not with --testbed docker: its load runs inside a Docker network")
        client = engine.connect()
        return cls(client, compose_command(), _container_user(engine.rootless(client)))

    @property
    def versions(self) -> dict[str, str]:
        """Versions of engine and image, for the record."""
        return {"docker": str(self.client.version()["Version"]), "image": engine.source_digest()}


def _container_user(is_rootless: bool) -> str:
    """Return the user in the containers: the current user, who then owns the files, but never real root."""
    if is_rootless:
        return "0:0"  # a rootless engine maps root to this user
    if os.getuid() == 0:
        return f"{LAB_USER}:{LAB_USER}"
    return f"{os.getuid()}:{os.getgid()}"


class DockerTestbed:
    """Owns all containers of a run. `logs`: the folder for logs that do not belong to one cell."""

    def __init__(self, host: DockerHost, logs: Path) -> None:
        self._logs = logs
        self._client, self._compose, self._user = host.client, host.compose, host.user
        self._containers: dict[str, CellContainer] = {}
        self._fleet: DockerFleet | None = None
        self._load: CellContainer | None = None
        self._shared_file: Path | None = None
        self._usage: UsageWatch | None = None
        self._cells = 0

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        with ExitStack() as closing:  # if a step fails, the earlier ones are undone
            closing.callback(self._client.close)
            engine.remove_leftovers(self._client)
            self._image = engine.ensure_image(self._client, lambda line: say(line, error=True))
            closing.callback(self._remove)
            self._start_guard(closing)
            self._project = f"lb-lab-{os.getpid()}-{os.urandom(3).hex()}"
            self._network = engine.make_network(self._client, self._project)
            self._sockets = closing.enter_context(scratch_folder("docker")) / "sockets"
            confirm_socket_path(self._sockets)
            self._sockets.mkdir()  # it may get another owner, while the folder around it stays this user's
            self._give_to_container_user([self._sockets])
            self._watch = ExitWatch(f"{engine.OWNER}={owner()}", self._containers)
            closing.callback(self._watch.close)
            self._closing = closing.pop_all()
        return self

    def _start_guard(self, closing: ExitStack) -> None:
        """Start the process that removes the containers if this process is killed."""
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
        closing.callback(guard.wait)
        closing.callback(guard.stdin.close)

    def __exit__(self, *_: object) -> None:
        if self._fleet is not None:
            self._fleet.close()
        self._closing.close()

    def start_cell(self, experiment: Experiment, plan: CellPlan, folder: Path, epoch_ns: int) -> LiveCell:
        (folder / "logs").mkdir(exist_ok=True)
        (folder / "envoy").mkdir(exist_ok=True)
        self._give_to_container_user([folder, *folder.iterdir()])
        self.stop_cell()
        context = CellContext(experiment, plan, folder, epoch_ns, None)
        self._fleet = fleet = DockerFleet(context, self._network, self._client, self._sockets)
        self._create(fleet, context)
        return fleet.start_all(self.check, READY_TIMEOUT_S)

    def _create(self, fleet: DockerFleet, context: CellContext) -> None:
        """Run Compose to create all containers that the cell will need, and find them."""
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
        label = f"com.docker.compose.project={project}"
        for container in self._client.containers.list(all=True, filters={"label": label}):
            name = container.labels["com.docker.compose.service"]
            fleet.containers[name] = CellContainer(name, container, context.log(name))
            self._containers[str(container.id)] = fleet.containers[name]
        if missing := set(commands) - set(fleet.containers):
            names = ", ".join(sorted(missing))
            raise LabError(f"Compose did not create {names}; see {self._logs}/compose.log")

    @property
    def fleet(self) -> DockerFleet:
        assert self._fleet is not None
        return self._fleet

    def start_load(self, order: Path, folder: Path) -> Process:
        assert order == _order(folder)
        self._share_locustfile(order, folder)
        fleet = self.fleet
        self._load = fleet.containers["load"]
        engine_call("start the load", self._load.container.start)
        fleet.live.pids |= host_pids(fleet.containers.values())
        self._usage = UsageWatch(list(fleet.containers.values()), folder / USAGE_FILE, fleet.context.epoch_ns)
        return self._load.state

    def _share_locustfile(self, order: Path, folder: Path) -> None:
        """Copy the Locust file that an order names to the cell's folder, which the container has, too."""
        planned = LoadOrder.read(order)
        if planned.locustfile is None:
            return
        self._shared_file = folder / planned.locustfile.name
        shutil.copyfile(planned.locustfile, self._shared_file)
        self._give_to_container_user([self._shared_file])
        replace(planned, locustfile=self._shared_file).write(order)

    def load_status(self) -> int | None:
        assert self._load is not None
        self.check()
        return self._load.state.status

    def wait_for_load(self, timeout_s: float) -> None:
        time.sleep(timeout_s)  # a thread hears from the engine that the load has ended

    def stop_load(self) -> None:
        if self._usage is not None:
            self._usage.end()
        if self._load is not None:
            self._end([self._load])

    def stop_cell(self) -> None:
        if self._fleet is None:
            return
        fleet = self._fleet
        self._end([container for name, container in fleet.containers.items() if name != "load"])
        if self._usage is not None:
            self._usage.close()
            self._usage = None
        fleet.for_each(CellContainer.save_log)
        fleet.for_each(CellContainer.remove)
        fleet.close()
        if self._shared_file is not None:
            self._shared_file.unlink(missing_ok=True)  # the run's folder has a copy
            self._shared_file = None
        self._containers.clear()
        self._fleet = None
        self._load = None

    def _remove(self) -> None:
        try:
            engine.remove_all(self._client, owner())
        except ENGINE_ERRORS as error:
            message = "the Docker engine does not answer; the next run removes what this run left in it"
            raise LabError(message) from error

    def _end(self, containers: list[CellContainer]) -> None:
        """Send SIGTERM to the running containers, then SIGKILL to those that run after STOP_TIMEOUT_S."""
        # An error means that the engine does not answer or has removed the containers.
        with suppress(*ENGINE_ERRORS, LabError):
            self._end_with(containers, signal.SIGTERM)
            self._end_with(containers, signal.SIGKILL)

    def _end_with(self, containers: list[CellContainer], number: signal.Signals) -> None:
        running = [one for one in containers if one.state.status is None]
        for one in running:
            one.state.end_expected = True
            one.container.reload()
            if one.container.status == "paused":
                one.container.unpause()
            if one.container.status in ("created", "exited"):
                one.set_ended(0)
            else:
                engine_call(f"end {one.name}", one.container.kill, number.name)
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        while any(one.state.status is None for one in running) and time.monotonic() < deadline_s:
            time.sleep(POLL_S)

    def check(self) -> None:
        """Raise LabError, with the log's path, if a container ended unexpectedly."""
        self._watch.check()
        self.fleet.check()
        for one in self.fleet.containers.values():
            if one.state.status is not None and not one.state.end_expected and one is not self._load:
                one.save_log()
                raise LabError(one.state.describe_end())

    def _give_to_container_user(self, paths: list[Path]) -> None:
        """Make the containers' user the owner of `paths`, if that user is LAB_USER."""
        if self._user == f"{LAB_USER}:{LAB_USER}":
            for path in paths:
                os.chown(path, LAB_USER, LAB_USER)


def _order(folder: Path) -> Path:
    """Return the path of the load's order. The load's container is created before the file is written."""
    return folder / "load-order.json"
