"""Peers that connect to the master's port without the run's secret."""

# Imported first: it keeps Locust from patching the sockets and threads of the tests.
import load.main  # noqa: F401

# isort: split
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import msgpack
import psutil
import zmq

from load import protocol
from load.encrypted_sockets import master_keys
from load.worker_session import NO_MASTER as NO_MASTER

# The first 64 bytes of a peer that speaks ZMTP 3.0: signature, version, mechanism, as-server, filler.
GREETING = bytes([0xFF, *[0] * 8, 0x7F, 3, 0]) + b"NULL".ljust(20, b"\0") + bytes(32)
HELLO = {"name": None, "host": "stranger", "code": "other", "offset_ns": 0, "uncertainty_ns": 0}
SILENT_CONNECTIONS = 200


def listening_port(pid: int) -> int:
    """Wait until the process listens on a TCP port, and return it."""
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        for connection in psutil.Process(pid).net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                return int(connection.laddr.port)
        time.sleep(0.01)
    raise AssertionError(f"process {pid} listens on no port")


def _send_bytes(*parts: bytes) -> Callable[[int], None]:
    def attack(port: int) -> None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as peer:
            for part in parts:
                peer.sendall(part)
                peer.settimeout(0.2)
                with suppress(TimeoutError):
                    peer.recv(4096)

    return attack


def _send_messages(*payloads: bytes, secret: str | None = None) -> Callable[[int], None]:
    """Send Locust's messages; `secret`: encrypted with the keys of another run."""

    def attack(port: int) -> None:
        with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
            peer.linger = 300
            peer.identity = b"stranger"
            if secret is not None:
                peer.curve_publickey, peer.curve_secretkey = zmq.curve_keypair()
                peer.curve_serverkey, _ = master_keys(secret)
            peer.connect(f"tcp://127.0.0.1:{port}")
            for payload in payloads:
                peer.send(payload)
            time.sleep(0.3)

    return attack


def _message(kind: str, data: object) -> bytes:
    return bytes(msgpack.dumps((kind, data, "stranger")))


def _keep_silent_connections(port: int) -> None:
    peers = []
    with suppress(OSError):
        for _ in range(SILENT_CONNECTIONS):
            peers.append(socket.create_connection(("127.0.0.1", port), 1))
    time.sleep(0.5)
    for peer in peers:
        peer.close()


GREETINGS = _message("client_ready", -1), _message(protocol.HELLO, HELLO)
ATTACKS: dict[str, Callable[[int], None]] = {
    "a worker of another lab": _send_messages(*GREETINGS),
    "a worker of another run": _send_messages(*GREETINGS, secret="the secret of some other run"),
    "a worker that stops Locust": _send_messages(_message("client_ready", -1), _message("quit", None)),
    "a greeting without fields": _send_messages(_message(protocol.HELLO, None)),
    "no msgpack": _send_messages(b"\xc1", b"", b"\x93"),
    "no ZeroMQ": _send_bytes(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(range(256)) * 64),
    "ZMTP 1.0": _send_bytes(b"\x01\x00", b"\x05\x00\x93\xa1x\xc0"),
    "a huge frame": _send_bytes(GREETING, b"\x02" + struct.pack(">Q", 1 << 62) + bytes(1 << 16)),
    "a huge command": _send_bytes(GREETING, b"\x06" + struct.pack(">Q", 1 << 33) + bytes(1 << 20)),
    "silent connections": _keep_silent_connections,
}


@contextmanager
def attacked(port: int, attacks: list[Callable[[int], None]]) -> Iterator[None]:
    """Carry out the attacks over and over, each in a thread of its own, until the block ends."""
    ended = threading.Event()

    def repeat(attack: Callable[[int], None]) -> None:
        while not ended.wait(0.1):
            attack(port)

    threads = [threading.Thread(target=repeat, args=(attack,)) for attack in attacks]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def encrypt(master: zmq.Socket[bytes], secret: str) -> None:
    """Give a master's socket the keys of a run with this secret."""
    master.curve_server = True
    master.curve_publickey, master.curve_secretkey = master_keys(secret)


class Recorder:
    """Listens on `port`, forwards bytes to the master's port and back, and keeps the bytes of a worker."""

    def __init__(self, masters_port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.sent = b""
        self.replays = 0
        self._masters_port = masters_port
        self._sockets: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def replay(self, port: int) -> None:
        """Send the same bytes to the master once more."""
        self.replays += 1
        _send_bytes(self.sent[:64], self.sent[64:])(port)

    def close(self) -> None:
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(("127.0.0.1", self._masters_port))
        self._sockets += [near, far]
        threading.Thread(target=self._pass_on, args=(far, near), daemon=True).start()
        self._pass_on(near, far)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
                if source.getpeername()[1] != self._masters_port:
                    self.sent += data
