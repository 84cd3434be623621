"""Reserves ports, so that a replica can restart at the same address."""

import socket
from contextlib import suppress

from harness.errors import LabError

TRIES = 50


class ReservedPorts:
    """Ports reserved by sockets that are bound and never listen.

    While no server listens on such a port, connections are refused. The kernel gives the port to no other
    process, not even as the local port of a connection. On Linux a server with SO_REUSEADDR (gRPC) or
    SO_REUSEPORT (Envoy) can still listen on it.
    """

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def reserve(self, host: str, port: int = 0) -> str:
        """Reserve `port` of `host` (0: a free port) and return "host:port". Raises OSError."""
        reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            reserved.bind((host, port))
        except OSError:
            reserved.close()
            raise
        self._sockets.append(reserved)
        return f"{host}:{reserved.getsockname()[1]}"

    def reserve_on_all(self, hosts: list[str]) -> list[str]:
        """Reserve the same port on all `hosts` and return the addresses.

        Raises LabError when no port is free on all of them.
        """
        for _ in range(TRIES):
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
        self._sockets = []
