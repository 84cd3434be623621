"""Replicas and proxy of one cell as containers. Implements harness.events.fleet.ContainerFleet."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
from docker.models.networks import Network

from harness.events.fleet import Endpoint
from harness.events.registry import kind_of
from harness.events.schedule import new_replicas
from harness.proxy.admin import EnvoyAdmin
from harness.proxy.endpoints import named_hosts
from harness.proxy.envoy_args import envoy_args
from harness.proxy.render import EnvoyFiles, render, write_endpoints
from harness.testbed.base import REPLICAS_NAME, LiveCell
from harness.testbed.cell_context import CellContext
from harness.testbed.docker.container import CellContainer, engine_call
from harness.testbed.docker.engine import LabNetwork
from harness.testbed.replica_args import replica_args

if TYPE_CHECKING:
    from harness.proxy.name_server import NameServer

REPLICA_PORT, ENVOY_PORT = 50051, 8080
ENVOY_NUMBER, LOAD_NUMBER, FIRST_REPLICA_NUMBER = 0, 1, 2
CPU_PERIOD_US = 100_000  # the period of the kernel's CPU bandwidth control; Docker's default


class DockerFleet:
    """Replicas and proxy of one cell. `containers`: by name; empty until Compose has created them."""

    def __init__(
        self, context: CellContext, network: LabNetwork, client: docker.DockerClient, sockets: Path
    ) -> None:
        self._context = context
        self._network = network
        self._client = client
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="docker")
        self._starts: list[Future[None]] = []
        self._started: list[str] = []
        self._closing = ExitStack()
        self._closing.callback(self._pool.shutdown)
        self._admin_socket = sockets / "envoy-admin.sock"
        self._files = EnvoyFiles(context.folder / "envoy", context.folder / "access.jsonl")
        self._name_server: NameServer | None = None
        self.containers: dict[str, CellContainer] = {}
        self.live = LiveCell(context.folder, replicas={}, controls={})
        self._choose_name_server()

    def _choose_name_server(self) -> None:
        """Choose the name server for discovery by DNS: the lab's if an event needs it, else Docker's."""
        arm = self._context.plan.arm
        if arm.discovery != "dns":
            return
        # Docker's DNS returns all containers that run, including those that should get no more calls.
        if any(kind_of(planned.event.do).endpoints == "members" for planned in self._context.plan.events):
            from harness.proxy.name_server import NameServer

            self._name_server = self._closing.enter_context(NameServer(self._network.gateway))
            self.live.name_server = self._name_server.address
        else:
            self.live.name_server = ""  # the name server that Docker configures in the container

    @property
    def has_proxy(self) -> bool:
        """Whether the route has a proxy."""
        return self._context.plan.arm.route != "direct"

    @property
    def epoch_ns(self) -> int:
        """The cell's start on the monotonic clock."""
        return self._context.epoch_ns

    def commands(self) -> dict[str, list[str]]:
        """Return name -> command, for the proxy and for all replicas, including those that events add."""
        count = self._context.experiment.replicas.count + new_replicas(self._context.plan.events)
        names = [f"replica-{number}" for number in range(count)]
        replicas = {
            name: [
                "python",
                "-m",
                "services.replica",
                *replica_args(self._context, name, self._address(name)),
            ]
            for name in names
        }
        if not self.has_proxy:
            return replicas
        return {**replicas, "envoy": ["envoy", *envoy_args(self._context.plan, self._files)]}

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
        """See Fleet."""
        self._signal(name, signal.SIGKILL)

    def stop(self, name: str) -> None:
        """See Fleet."""
        self._signal(name, signal.SIGTERM)

    def _signal(self, name: str, number: signal.Signals) -> None:
        signalled = self.containers[name]
        signalled.state.end_expected = True
        engine_call(f"signal {name}", signalled.container.kill, number.name)

    def pause(self, name: str) -> None:
        """See Fleet."""
        engine_call(f"pause {name}", self.containers[name].container.pause)

    def resume(self, name: str) -> None:
        """See Fleet."""
        engine_call(f"unpause {name}", self.containers[name].container.unpause)

    def partition(self, name: str) -> None:
        """See Fleet."""
        disconnect = self._lab_network().disconnect
        engine_call(f"disconnect {name}", disconnect, self.containers[name].container, force=True)

    def rejoin(self, name: str) -> None:
        """See Fleet."""
        place = self.place(name)
        connect = self._lab_network().connect
        engine_call(f"connect {name}", connect, self.containers[name].container, **place)

    def limit_cpu(self, name: str, cores: float | None) -> None:
        """See Fleet."""
        quota_us = -1 if cores is None else round(cores * CPU_PERIOD_US)
        update = self.containers[name].container.update
        engine_call(f"limit the CPU of {name}", update, cpu_period=CPU_PERIOD_US, cpu_quota=quota_us)

    def _lab_network(self) -> Network:
        return self._client.networks.get(self._network.name)

    def start(self, name: str) -> None:
        """See Fleet."""
        self._context.ready_file(name).unlink(missing_ok=True)
        self._start(name)

    def _start(self, name: str) -> None:
        # The engine needs half a second. A thread waits for it, so that the harness does not.
        started = self.containers[name]
        started.state.status, started.state.end_expected = None, False
        self._starts.append(self._pool.submit(engine_call, f"start {name}", started.container.start))

    def start_new(self) -> str:
        """See Fleet."""
        name = f"replica-{len(self._started)}"
        self._started.append(name)
        self.start(name)
        return name

    def running(self, name: str) -> bool:
        """See Fleet."""
        return self.containers[name].state.status is None

    def ready(self, name: str) -> bool:
        """See Fleet."""
        entry = self._context.ready(name)
        if entry is None:
            return False
        self.live.replicas[name] = entry["address"]
        self.live.controls[name] = entry["control_address"]
        return True

    def publish(self, endpoints: dict[str, Endpoint]) -> None:
        """See Fleet. Docker's DNS needs no update: it returns the containers that run."""
        if self.has_proxy:
            write_endpoints(self._files, endpoints, self._context.plan.arm)
        if self._name_server is not None:
            self._name_server.publish(named_hosts(endpoints))

    def stop_proxy(self) -> None:
        """See Fleet."""
        self._signal("envoy", signal.SIGTERM)

    def start_proxy(self) -> None:
        """See Fleet."""
        self._files.admin_address.unlink(missing_ok=True)
        text = render(
            self._context.plan.arm, self._files, None, self._address("envoy"), admin_socket=self._admin_socket
        )
        self._files.config.write_text(text)
        self._start("envoy")

    def proxy_running(self) -> bool:
        """See Fleet."""
        return self.has_proxy and self.running("envoy")

    def proxy_ready(self) -> bool:
        """See Fleet."""
        if not self.has_proxy or not self._files.admin_address.exists():
            return False
        self.live.envoy = EnvoyAdmin(str(self._admin_socket), self._context.log("envoy"))
        self.live.envoy_address = self._address("envoy")
        return True

    def check(self) -> None:
        """Raise LabError when the engine failed to start a container."""
        for start in [start for start in self._starts if start.done()]:
            self._starts.remove(start)
            start.result()

    def for_each(self, call: Callable[[str], object], names: list[str]) -> None:
        """Call `call(name)` for all `names`, several at a time."""
        list(self._pool.map(call, names))

    def close(self) -> None:
        """Stop the threads and the name server. Remove the containers first."""
        self._closing.close()
