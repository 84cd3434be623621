"""Replicas and proxy of one cell as containers. Implements harness.events.context.ContainerFleet."""

import os
import signal
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
from docker.models.networks import Network

from harness.errors import UserError
from harness.events.registry import kind_of
from harness.proxy.render import envoy_args
from harness.testbed.base import REPLICAS_NAME
from harness.testbed.cell_context import CellContext, replica_args
from harness.testbed.docker.container import CellContainer, engine_call
from harness.testbed.docker.engine import LabNetwork
from harness.testbed.fleet import CellFleet

REPLICA_PORT, ENVOY_PORT = 50051, 8080
ENVOY_NUMBER, LOAD_NUMBER, FIRST_REPLICA_NUMBER = 0, 1, 2
ADMIN_SOCKET = "envoy-admin.sock"
MAX_SOCKET_PATH_BYTES = 107  # unix(7): 108 with the byte that ends it
CPU_PERIOD_US = 100_000  # the period of the kernel's CPU bandwidth control; Docker's default


def confirm_socket_path(sockets: Path) -> None:
    """Raise UserError if the path of Envoy's admin socket in `sockets` is too long for a Unix socket."""
    length = len(os.fsencode(sockets / ADMIN_SOCKET))
    if length > MAX_SOCKET_PATH_BYTES:
        raise UserError(
            f"TMPDIR ({tempfile.gettempdir()}): the path of Envoy's socket in it has {length} bytes, "
            f"expected at most {MAX_SOCKET_PATH_BYTES}; set TMPDIR to a folder with a shorter path, as /tmp"
        )


class DockerFleet(CellFleet):
    """Replicas and proxy as containers. `containers`: by name; empty until Compose has created them."""

    def __init__(
        self, context: CellContext, network: LabNetwork, client: docker.DockerClient, sockets: Path
    ) -> None:
        super().__init__(context, admin_socket=sockets / ADMIN_SOCKET)
        self.containers: dict[str, CellContainer] = {}
        self._network = network
        self._client = client
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="docker")
        self._closing.callback(self._pool.shutdown)
        self._starts: list[Future[None]] = []
        if context.plan.arm.discovery != "dns":
            return
        # Docker's DNS returns all containers that run, including those that should get no more calls.
        if any(kind_of(planned.event.do).endpoints == "members" for planned in context.plan.events):
            self._use_name_server(network.gateway)
        else:
            self.live.name_server = ""  # the name server that Docker configures in the container

    def commands(self) -> dict[str, list[str]]:
        """Return name -> command, for the proxy and for all replicas, including those that events add."""
        commands = {}
        for name in self._names:
            arguments = replica_args(self.context, name, self._address(name))
            commands[name] = ["python", "-m", "services.replica", *arguments]
        for node in self._nodes:
            commands[node] = ["envoy", *envoy_args(self.context.plan, self.files_of(node))]
        return commands

    def place(self, name: str) -> dict[str, Any]:
        """Return a container's address and aliases for the Compose file. All replicas share one DNS name."""
        place: dict[str, Any] = {"ipv4_address": self._host(name)}
        if name.startswith("replica-"):
            place["aliases"] = [REPLICAS_NAME]
        return place

    def _host(self, name: str) -> str:
        fixed = {"envoy": ENVOY_NUMBER, "load": LOAD_NUMBER}
        number = fixed[name] if name in fixed else FIRST_REPLICA_NUMBER + int(name.rpartition("-")[2])
        return self._network.host(number)

    def _address(self, name: str) -> str:
        return f"{self._host(name)}:{ENVOY_PORT if name == 'envoy' else REPLICA_PORT}"

    def kill(self, name: str) -> None:
        self._signal(name, signal.SIGKILL)

    def stop(self, name: str) -> None:
        self._signal(name, signal.SIGTERM)

    def _signal(self, name: str, number: signal.Signals) -> None:
        signalled = self.containers[name]
        signalled.state.end_expected = True
        engine_call(f"signal {name}", signalled.container.kill, number.name)

    def pause(self, name: str) -> None:
        self.live.paused.add(name)
        engine_call(f"pause {name}", self.containers[name].container.pause)

    def resume(self, name: str) -> None:
        engine_call(f"unpause {name}", self.containers[name].container.unpause)
        self.live.paused.discard(name)

    def partition(self, name: str) -> None:
        disconnect = self._lab_network().disconnect
        engine_call(f"disconnect {name}", disconnect, self.containers[name].container, force=True)

    def rejoin(self, name: str) -> None:
        connect = self._lab_network().connect
        engine_call(f"connect {name}", connect, self.containers[name].container, **self.place(name))

    def limit_cpu(self, name: str, cores: float | None) -> None:
        quota_us = -1 if cores is None else round(cores * CPU_PERIOD_US)
        update = self.containers[name].container.update
        engine_call(f"limit the CPU of {name}", update, cpu_period=CPU_PERIOD_US, cpu_quota=quota_us)

    def _lab_network(self) -> Network:
        return self._client.networks.get(self._network.name)

    def _start(self, name: str) -> None:
        # The engine needs half a second. A thread waits for it, so that the harness does not.
        started = self.containers[name]
        started.state.status, started.state.end_expected = None, False
        self._starts.append(self._pool.submit(engine_call, f"start {name}", started.container.start))

    def running(self, name: str) -> bool:
        return self.containers[name].state.status is None

    def _saved_log(self, name: str) -> Path:
        self.containers[name].save_log()
        return super()._saved_log(name)

    def check(self) -> None:
        """Raise LabError when the engine failed to start a container."""
        for start in [start for start in self._starts if start.done()]:
            self._starts.remove(start)
            start.result()

    def for_each(self, call: Callable[[CellContainer], object]) -> None:
        """Call `call(container)` for all containers, several at a time."""
        list(self._pool.map(call, self.containers.values()))
