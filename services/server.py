"""A gRPC server that can go away and come back on the same ports."""

import socket
from collections.abc import Callable

import grpc

from services.sockets import break_connections
from services.threads import ThreadedServer


class CannotStartError(Exception):
    """The replica cannot serve; the message says why."""


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
