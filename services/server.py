"""A gRPC server that can stop or crash and then start again on the same ports."""

import os
import socket
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

import grpc

from services.errors import CannotStartError
from services.threaded_server import ThreadedServer


class Server:
    """The ports of a replica and the gRPC server on them. `make` returns a new gRPC server, not yet started.

    A gRPC server cannot be started twice, so each start uses a new one with the same servicers.
    """

    def __init__(self, make: Callable[[], grpc.aio.Server | ThreadedServer]) -> None:
        self._make = make
        self._ports: list[tuple[str, grpc.ServerCredentials | None]] = []
        self._holders: list[socket.socket] = []
        self._server: grpc.aio.Server | ThreadedServer | None = None

    def bind(self, listen: str, credentials: grpc.ServerCredentials | None) -> str:
        """Reserve the port of "host:port" (0: the kernel picks one) and return the address with that port.

        Raises CannotStartError if the port is taken.
        """
        host, _, port = listen.rpartition(":")
        try:
            holder = _hold(host.strip("[]"), int(port))
        except OSError as error:
            raise CannotStartError(f"cannot listen on {listen}: {error}") from None
        self._holders.append(holder)
        address = f"{host}:{holder.getsockname()[1]}"
        self._ports.append((address, credentials))
        return address

    async def start(self) -> None:
        """Start to serve. Raises CannotStartError if another process listens on a port."""
        server = self._make()
        for address, credentials in self._ports:
            try:
                if credentials is None:
                    server.add_insecure_port(address)
                else:
                    server.add_secure_port(address, credentials)
            except RuntimeError as error:
                raise CannotStartError(f"cannot listen on {address}: {error}") from None
        await server.start()
        self._server = server

    async def stop(self, grace_s: float) -> None:
        """Accept no more calls and give open calls `grace_s` seconds. A stopped server stays stopped."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace_s)

    async def crash(self) -> None:
        """Close ports and connections at once. Open calls are cancelled.

        gRPC's core then prints "Closing acceptor" on standard error, because its listening socket is closed.
        """
        break_connections([holder.getsockname()[1] for holder in self._holders])
        await self.stop(0)


def _hold(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to the port and never listens. It reserves the port; callers are refused.

    Linux lets another socket with SO_REUSEADDR, such as gRPC's, listen on the same port. Raises OSError with
    the system's reason; gRPC's core would only print lines.
    """
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    holder = socket.socket(family, kind)
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(address)
    except OSError:
        holder.close()
        raise
    return holder


def break_connections(ports: Collection[int]) -> None:
    """Shut down this process's sockets on these local TCP ports, as the kernel does when a process dies.

    Listening sockets come first, so that nobody can connect again. Callers see their connection closed or
    refused, without an HTTP/2 frame. `grpc.aio.Server.stop` would send CANCELLED to some of them.
    """
    for listening in (True, False):
        for own in _own_sockets():
            with own, suppress(OSError):  # OSError: the socket is not connected
                accepts = own.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                if bool(accepts) == listening and own.getsockname()[1] in ports:
                    own.shutdown(socket.SHUT_RDWR)


def _own_sockets() -> Iterator[socket.socket]:
    """Yield the internet sockets of this process. Each has a new descriptor that the caller must close."""
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        with suppress(OSError):  # the descriptor was closed in the meantime
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                own = socket.socket(fileno=os.dup(number))
                if own.family in (socket.AF_INET, socket.AF_INET6):
                    yield own
                else:
                    own.close()
