"""The sockets behind a gRPC server, which gRPC itself hides."""

import os
import socket
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path


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
