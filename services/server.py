"""A gRPC server that can go away and come back on the same ports."""

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
    """The ports of a replica and the gRPC server on them; `make` makes one with its services, unstarted.

    A gRPC server cannot be started twice, so every return is a new one with the same servicers.
    """

    def __init__(self, make: Callable[[], grpc.aio.Server | ThreadedServer]) -> None:
        self._make = make
        self._ports: list[tuple[str, grpc.ServerCredentials | None]] = []
        self._holders: list[socket.socket] = []
        self._server: grpc.aio.Server | ThreadedServer | None = None

    def bind(self, listen: str, credentials: grpc.ServerCredentials | None) -> str:
        """Take the port of "host:port" (0: the kernel picks one) for good; the address as it will be.

        Raises CannotStartError.
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
        """Serve. Raises CannotStartError when somebody else listens on the port meanwhile."""
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
        """Take no more calls and let those here finish for `grace_s` seconds; away already: nothing to do."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace_s)

    async def crash(self) -> None:
        """Close ports and connections at once; the calls in hand are cancelled.

        gRPC's core notes "Closing acceptor" on standard error: its listening socket is shut under its hands.
        """
        break_connections([holder.getsockname()[1] for holder in self._holders])
        await self.stop(0)


def _hold(host: str, port: int) -> socket.socket:
    """A socket that is bound and never listens: callers are refused, and the kernel gives nobody the port.

    Linux lets another socket with SO_REUSEADDR, as gRPC's, listen there beside it. Raises OSError with the
    system's reason, where gRPC's core would write lines of its own.
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
    """Shut this process's sockets on these TCP ports of its own, as the kernel does when a process dies.

    First those that listen, so that nobody gets in again. Callers see the connection closed or refused,
    without a word of HTTP/2; `grpc.aio.Server.stop` tells some of them CANCELLED instead.
    """
    for listening in (True, False):
        for own in _own_sockets():
            with own, suppress(OSError):  # OSError: it is not, or no longer, connected
                accepts = own.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                if bool(accepts) == listening and own.getsockname()[1] in ports:
                    own.shutdown(socket.SHUT_RDWR)


def _own_sockets() -> Iterator[socket.socket]:
    """The internet sockets of this process, each by a descriptor of its own, which is to be closed."""
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        with suppress(OSError):  # closed meanwhile
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                own = socket.socket(fileno=os.dup(number))
                if own.family in (socket.AF_INET, socket.AF_INET6):
                    yield own
                else:
                    own.close()
