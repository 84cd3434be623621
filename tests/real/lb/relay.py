"""A TCP relay between client and replica. It counts the bytes on the wire."""

import socket
import threading
from contextlib import suppress


class Relay:
    """Listens on `address` and forwards all bytes to `target` ("host:port") until it is closed."""

    def __init__(self, target: str) -> None:
        host, port = target.split(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self._listener.getsockname())
        self.sent_bytes = 0  # by the clients
        self._sockets: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        for end in self._sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in self._threads:
            thread.join(timeout=5)
            assert not thread.is_alive()

    def _start(self, work: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._sockets += [near, far]
                self._start(self._pass_on, near, far)
                self._start(self._pass_on, far, near)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        to_replica = sink.getpeername() == self._target
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
                self.sent_bytes += len(data) if to_replica else 0
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
