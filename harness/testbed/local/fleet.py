"""The fleet of one cell on this machine: see harness.events.fleet.Fleet."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

from harness.events.fleet import Endpoint
from harness.proxy.endpoints import named_hosts
from harness.proxy.render import write_endpoints
from harness.testbed.base import LiveCell
from harness.testbed.cell_context import CellContext
from harness.testbed.local.envoy_process import LocalEnvoy
from harness.testbed.local.replicas import LocalReplicas
from harness.testbed.processes import Process, ProcessFamily

if TYPE_CHECKING:
    from harness.proxy.name_server import NameServer


class LocalFleet:
    """Replicas, proxy and name server of one cell; `live` is what others know of them."""

    def __init__(self, context: CellContext, family: ProcessFamily) -> None:
        plan = context.plan
        self._context = context
        self._closing = ExitStack()
        self.live = LiveCell(context.folder, replicas={}, controls={})
        self._replicas = LocalReplicas(context, family)
        self._closing.callback(self._replicas.close)
        self._envoy: LocalEnvoy | None = None
        self._names: NameServer | None = None
        if plan.arm.route != "direct":
            self._envoy = LocalEnvoy(context, family)
            self._closing.callback(self._envoy.close)
        elif plan.arm.discovery == "dns":
            self._names = self._closing.enter_context(_name_server())
            self.live.name_server = self._names.address

    @property
    def processes(self) -> list[Process]:
        """All that were started and not replaced, running or not."""
        envoy = self._envoy.process if self._envoy else None
        return [*self._replicas.processes.values(), *([envoy] if envoy else [])]

    @property
    def has_proxy(self) -> bool:
        """Whether the route has one."""
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
        if self._names is not None:
            self._names.publish(named_hosts(endpoints))

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
        """Give addresses and name server back; the processes have been ended before."""
        self._closing.close()


def _name_server() -> NameServer:
    # Imported here: most cells have none, and a run's start need not wait for it.
    from harness.proxy.name_server import NameServer

    return NameServer()
