"""Replicas and proxy of one cell as processes on this machine."""

import signal
import socket
from contextlib import suppress

from harness.errors import LabError, UserError
from harness.fields import PROXY, is_proxy
from harness.proxy.render import envoy_args, envoy_program
from harness.testbed.base import PROXY_NAME
from harness.testbed.cell_context import CellContext, replica_args
from harness.testbed.fleet import CellFleet
from harness.testbed.processes import Process, ProcessFamily
from lb.ca_certificates import read_ca_certificates

PORT_TRIES = 50


class ReservedPorts:
    """Ports reserved by sockets that are bound and never listen.

    While no server listens on such a port, connections are refused. The kernel gives the port to no other
    process, not even as the local port of a connection. On Linux a server with SO_REUSEADDR (gRPC) or
    SO_REUSEPORT (Envoy) can still listen on it.
    """

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def reserve(self, host: str, port: int = 0) -> str:
        """Reserve `port` of `host` (0: a free port) and return "host:port". Raises OSError if it is taken."""
        if port:
            # Another Envoy that listens there would share the port: it has SO_REUSEPORT, too.
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._sockets.append(reserved)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind((host, port))
        return f"{host}:{reserved.getsockname()[1]}"

    def reserve_on_all(self, hosts: list[str]) -> list[str]:
        """Reserve the same port on all `hosts` and return the addresses.

        Raises LabError when no port is free on all of them.
        """
        for _ in range(PORT_TRIES):
            first = self.reserve(hosts[0])
            port = int(first.rpartition(":")[2])
            with suppress(OSError):
                return [first, *(self.reserve(host, port) for host in hosts[1:])]
            # The port is in use on one of the hosts. The sockets bound so far stay open until close().
        raise LabError(f"no port is free on all of {hosts[0]} to {hosts[-1]}")

    def close(self) -> None:
        """Release all ports."""
        for reserved in self._sockets:
            reserved.close()


class LocalFleet(CellFleet):
    """Replicas and proxy as processes. `processes`: the latest of each, running or not.

    With discovery by DNS each replica has its own IP address (127.0.1.1, ...), and all replicas have the same
    port. So have the nodes of a proxy that has several (127.0.2.1, ...), and the name server names these.
    `proxy_port`: the port of a single proxy; 0: a free one. Raises UserError if it is taken.
    """

    def __init__(self, context: CellContext, family: ProcessFamily, proxy_port: int = 0) -> None:
        super().__init__(context)
        self.processes: dict[str, Process] = {}
        self._family = family
        if context.plan.arm.tls is not None and context.tls is not None:
            self.live.tls, self.live.authority = True, read_ca_certificates(context.tls.authority)
        ports = ReservedPorts()
        self._closing.callback(ports.close)
        if context.plan.arm.discovery == "dns":
            hosts = [f"127.0.{1 + number // 250}.{1 + number % 250}" for number in range(len(self._names))]
            addresses = ports.reserve_on_all(hosts)
            self._use_name_server()
        else:
            addresses = [ports.reserve("127.0.0.1") for _ in self._names]
        self._addresses = dict(zip(self._names, addresses, strict=True))
        if len(self._nodes) > 1:
            if proxy_port:
                raise UserError("--port: the proxy has several nodes, each with an address; leave --port out")
            hosts = [f"127.0.2.{1 + number}" for number in range(len(self._all_nodes))]
            self._addresses |= zip(self._all_nodes, ports.reserve_on_all(hosts), strict=True)
            self._use_name_server(name=PROXY_NAME)
        elif self._nodes:
            try:
                self._addresses[PROXY] = ports.reserve("127.0.0.1", proxy_port)
            except OSError as error:
                problem = f"cannot listen on 127.0.0.1:{proxy_port}: {error.strerror}"
                raise UserError(f"--port: {problem}; give another port, or leave --port out") from None

    def kill(self, name: str) -> None:
        self._end(name, signal.SIGKILL)

    def stop(self, name: str) -> None:
        self._end(name, signal.SIGTERM)

    def _end(self, name: str, number: signal.Signals) -> None:
        self.processes[name].end_expected = True
        if number is not signal.SIGKILL:
            self.resume(name)  # a stopped process does not handle SIGTERM
        self._family.send_signal(self.processes[name], number)

    def pause(self, name: str) -> None:
        self.live.paused.add(name)
        self._family.send_signal(self.processes[name], signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self._family.send_signal(self.processes[name], signal.SIGCONT)
        self.live.paused.discard(name)

    def running(self, name: str) -> bool:
        self._family.read_messages()
        return name in self.processes and self.processes[name].status is None

    def _address(self, name: str) -> str:
        return self._addresses[name]

    def _start(self, name: str) -> None:
        context, log = self.context, self.context.log(name)
        if is_proxy(name):
            command = [envoy_program(), *envoy_args(context.plan, self.files_of(name))]
            process = self._family.spawn_program(name, command, log)
        else:
            arguments = replica_args(context, name, self._address(name))
            process = self._family.spawn_module(name, "services.replica", arguments, log)
        self.processes[name], self.live.pids[name] = process, process.pid
        self.live.paused.discard(name)
