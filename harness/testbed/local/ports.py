"""Ports that stay ours while nobody listens on them, so that a replica can come back to its address."""

import socket
from contextlib import suppress

from harness.errors import LabError

TRIES = 50


class HeldPorts:
    """Sockets that are bound and never listen.

    Callers are refused there, and the kernel gives the port to nobody else, not even as the near end of a
    connection. Linux lets a server with SO_REUSEADDR (gRPC) or SO_REUSEPORT (Envoy) listen beside them.
    """

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def hold(self, host: str, port: int = 0) -> str:
        """Take `port` of `host` (0: a free one); the address "host:port". Raises OSError."""
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind((host, port))
        except OSError:
            holder.close()
            raise
        self._sockets.append(holder)
        return f"{host}:{holder.getsockname()[1]}"

    def hold_same(self, hosts: list[str]) -> list[str]:
        """Take one port on all `hosts`; their addresses. Raises LabError when none is free on all of them."""
        for _ in range(TRIES):
            first = self.hold(hosts[0])
            port = int(first.rpartition(":")[2])
            with suppress(OSError):
                return [first, *(self.hold(host, port) for host in hosts[1:])]
            # Somebody has that port on one of the hosts. Those taken so far are held until the end.
        raise LabError(f"no port is free on all of {hosts[0]} to {hosts[-1]}")

    def close(self) -> None:
        """Give all ports back."""
        for holder in self._sockets:
            holder.close()
        self._sockets = []
