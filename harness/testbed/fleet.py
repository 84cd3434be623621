"""What the fleets of all testbeds have in common: the start of a cell's replicas, name server and proxy."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import LabError
from harness.events.context import Endpoint, Fleet
from harness.events.schedule import new_nodes, new_replicas
from harness.fields import proxy_names
from harness.proxy.admin import EnvoyAdmin
from harness.proxy.render import EnvoyFiles, named_hosts, render, write_endpoints, write_nodes
from harness.spec.zones import replicas_of_node
from harness.testbed.base import REPLICAS_NAME, LiveCell
from harness.testbed.cell_context import CellContext

if TYPE_CHECKING:
    from harness.proxy.name_server import NameServer
    from harness.proxy.xds import XdsControl

POLL_S = 0.005


class CellFleet(Fleet):
    """Replicas, proxy and name server of one cell. `live` describes them to the rest of the harness."""

    def __init__(self, context: CellContext, admin_socket: Path | None = None) -> None:
        self.live = LiveCell(context.folder, replicas={}, controls={})
        self.context = context
        arm = context.plan.arm
        # Those that have been started or will be, and all of them with those that events add.
        self._nodes = proxy_names(arm.proxies) if arm.has_proxy else []
        added = new_nodes(one.event for one in context.plan.events)
        self._all_nodes = proxy_names(arm.proxies + added) if added else list(self._nodes)
        self._published: Mapping[str, Endpoint] = {}
        self._named: Collection[str] = list(self._nodes)
        self._admin_socket = admin_socket
        self._name_server: NameServer | None = None
        self._control_plane: XdsControl | None = None
        self._closing = ExitStack()
        count = context.experiment.replicas.count + new_replicas(context.plan.events)
        self._names = [f"replica-{number}" for number in range(count)]  # with those that events add
        self._unused_names = iter(self._names)

    def start_all(self, check: Callable[[], None], timeout_s: float) -> LiveCell:
        """Start the replicas and then the proxy, if the route has one; return when all are ready.

        `check` raises LabError when a component has died. Raises LabError, with the log's path, when a
        component is not ready after `timeout_s`.
        """

        def wait(ready: Callable[[], bool], name: str) -> None:
            deadline_s = time.monotonic() + timeout_s
            while not ready():
                check()
                if time.monotonic() > deadline_s:
                    raise LabError(f"{name} was not ready after {timeout_s:g} s; see {self._saved_log(name)}")
                time.sleep(POLL_S)

        names = [self.start_new() for _ in self.context.experiment.replicas.names]
        if self.context.plan.arm.route == "xds":
            self._use_control_plane()  # while the replicas start: its messages take a while to import
        for name in names:
            wait(partial(self.ready, name), name)
        self.publish({name: Endpoint(self.live.replicas[name]) for name in names})
        for node in self._nodes:
            self.start_proxy(node)
        for node in self._nodes:
            wait(partial(self.proxy_ready, node), node)
            wait(partial(self._all_healthy, node), node)
        self.name_nodes(self._nodes)
        return self.live

    def _all_healthy(self, node: str) -> bool:
        health = self.live.admins[node].endpoint_health()
        known = replicas_of_node(self.context.plan.arm, self.live.replicas, node)
        return len(health) == len(known) and all(health.values())

    def start(self, name: str) -> None:
        self.context.ready_file(name).unlink(missing_ok=True)
        self._start(name)

    def start_new(self) -> str:
        name = next(self._unused_names)
        self.start(name)
        return name

    def ready(self, name: str) -> bool:
        entry = self.context.ready(name)
        if entry is None:
            return False
        self.live.replicas[name] = entry["address"]
        self.live.controls[name] = entry["control_address"]
        if "tls_address" in entry:
            self.live.replicas_tls[name] = entry["tls_address"]
        return True

    def publish(self, endpoints: dict[str, Endpoint]) -> None:
        self._published = dict(endpoints)
        for node in self._nodes:
            write_endpoints(self.files_of(node), endpoints, self.context.plan.arm, node)
        if self._name_server is not None and not self._nodes:
            self._name_server.publish(named_hosts(endpoints))
        if self._control_plane is not None:
            self._control_plane.publish(endpoints)

    def accepted(self) -> bool | None:
        return None if self._control_plane is None else self._control_plane.accepted()

    def name_nodes(self, nodes: Collection[str]) -> bool:
        """Tell the name server, and nodes that route zone-aware, which nodes clients are to find.

        Returns whether the proxy has a name server. Where there are no nodes, clients are to find all of
        them. Route 53 does so when all nodes of an ALB are unhealthy.
        """
        if self._name_server is None or not self._nodes:
            return False
        self._named = [node for node in self._nodes if node in nodes] or list(self._nodes)
        addresses = self._addresses_of(self._named)
        for node in self._nodes:
            write_nodes(self.files_of(node), addresses, self.context.plan.arm)
        self._name_server.publish([address.rpartition(":")[0] for address in addresses.values()])
        return True

    def _addresses_of(self, nodes: Collection[str]) -> dict[str, str]:
        return {node: self._address(node) for node in self._nodes if node in nodes}

    def files_of(self, node: str) -> EnvoyFiles:
        """Return the files of a node of the proxy."""
        return EnvoyFiles.of_cell(self.context.folder, self.context.plan.arm, node)

    def stop_proxy(self, node: str) -> None:
        self.stop(node)

    def kill_proxy(self, node: str) -> None:
        self.kill(node)
        self.live.admins.pop(node, None)  # it no longer answers

    def start_proxy(self, node: str) -> None:
        arm, tls, files = self.context.plan.arm, self.context.tls, self.files_of(node)
        files.admin_address.unlink(missing_ok=True)
        write_nodes(files, self._addresses_of({*self._named, node}), arm)
        files.config.write_text(render(arm, files, tls, self._address(node), self._admin_socket, node))
        self._start(node)

    def start_new_proxy(self) -> str:
        node = self._all_nodes[len(self._nodes)]
        self._nodes.append(node)
        write_endpoints(self.files_of(node), self._published, self.context.plan.arm, node)
        self.start_proxy(node)
        return node

    def proxy_running(self, node: str) -> bool:
        return node in self._nodes and self.running(node)

    def proxy_ready(self, node: str) -> bool:
        path = self.files_of(node).admin_address
        written = path.read_text().strip() if path.exists() else ""
        if not written:
            return False
        self.live.admins[node] = EnvoyAdmin(str(self._admin_socket or written), self.context.log(node))
        self.live.proxies[node] = self._address(node)
        return True

    def close(self) -> None:
        """Release what the fleet holds in this process. End the components first."""
        self._closing.close()

    def _use_name_server(self, host: str = "127.0.0.1", name: str = REPLICAS_NAME) -> None:
        # A local import, because most cells have no name server and should not wait for its import.
        from harness.proxy.name_server import NameServer

        self._name_server = self._closing.enter_context(NameServer(host, name))
        self.live.name_server = self._name_server.address

    def _use_control_plane(self) -> None:
        # A local import, as above.
        from harness.proxy.xds import XdsControl, XdsFiles

        self._control_plane = XdsControl(self.context.plan.arm, XdsFiles(self.context.folder / "xds"))
        self._closing.callback(self._control_plane.close)
        self.live.control_plane = self._control_plane.address

    def _saved_log(self, name: str) -> Path:
        """Return the path of a component's log, which contains all output so far."""
        return self.context.log(name)

    @abstractmethod
    def _address(self, name: str) -> str:
        """Return the "host:port" of a replica or the proxy; it keeps its address when it restarts."""

    @abstractmethod
    def _start(self, name: str) -> None:
        """Start a replica or the proxy, which does not run."""
