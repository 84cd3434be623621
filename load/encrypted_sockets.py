"""Locust's sockets between master and workers, encrypted and authenticated with the run's secret.

ZeroMQ's CURVE does both (rfc.zeromq.org/spec/26). The master's two keys are made from the secret. A peer must
know the master's public key to shake hands with it. CURVE never sends that key, so only those who know the
secret can join, and only a master that knows it can answer them. ZeroMQ refuses everybody else before any
byte reaches Python. Each connection has keys of its own, so recorded bytes are of no use later.
"""

import hashlib
from typing import Any

import zmq
from locust.exception import RPCError, RPCReceiveError, RPCSendError
from locust.rpc import Message
from locust.rpc.zmqrpc import BaseSocket
from zmq.utils import z85

# Limits for a peer before its handshake is complete: time, and memory for one frame.
HANDSHAKE_TIMEOUT_MS = 5000
MAX_FRAME_BYTES = 128 * 1024
FRAME_BYTES = 64 * 1024  # longer messages travel in several frames


def master_keys(secret: str) -> tuple[bytes, bytes]:
    """Return the master's public and secret key as ZeroMQ takes them."""
    secret_key = z85.encode(hashlib.sha256(b"lb-lab load master\0" + secret.encode()).digest())
    return zmq.curve_public(secret_key), secret_key


class EncryptedSockets:
    """Makes the sockets of a run with this secret. Stands in for the module `locust.rpc.rpc`."""

    def __init__(self, secret: str) -> None:
        self._public_key, self._secret_key = master_keys(secret)

    def Server(self, host: str, port: int) -> "MasterSocket":  # noqa: N802 - Locust's name
        """Return the master's socket, which listens; port 0: on a free port."""
        return MasterSocket(host, port, self._public_key, self._secret_key)

    def Client(self, host: str, port: int, identity: str) -> "WorkerSocket":  # noqa: N802 - Locust's name
        """Return a worker's socket, which connects to the master."""
        return WorkerSocket(host, port, identity, self._public_key)


class MasterSocket(BaseSocket):
    """The master's socket."""

    def __init__(self, host: str, port: int, public_key: bytes, secret_key: bytes) -> None:
        super().__init__(zmq.ROUTER, self.ipv4_only(host, port))  # type: ignore[no-untyped-call]
        self.socket.setsockopt(zmq.CURVE_SERVER, 1)
        self.socket.setsockopt(zmq.CURVE_PUBLICKEY, public_key)
        self.socket.setsockopt(zmq.CURVE_SECRETKEY, secret_key)
        _limit_unknown_peers(self.socket)
        try:
            self.socket.bind(f"tcp://{host}:{port or '*'}")
        except zmq.ZMQError as error:
            raise RPCError(f"Socket bind failure: {error}") from error
        self.port = int(self.socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])

    def send_to_client(self, message: Message) -> None:
        """Send a message to the worker that its node_id names."""
        self.socket.send_multipart([message.node_id.encode(), *_frames(message)], zmq.NOBLOCK)

    def recv_from_client(self) -> tuple[str, Message]:
        """Return a worker's id and its next message. Raises RPCReceiveError for other bytes."""
        identity, *frames = self.socket.recv_multipart()
        try:
            return identity.decode(), _message(frames)
        except Exception as error:  # whatever msgpack raises: see load.secret for who can send here
            raise RPCReceiveError("no message of Locust's") from error


class WorkerSocket(BaseSocket):
    """A worker's socket."""

    def __init__(self, host: str, port: int, identity: str, masters_key: bytes) -> None:
        super().__init__(zmq.DEALER, self.ipv4_only(host, port))  # type: ignore[no-untyped-call]
        public_key, secret_key = zmq.curve_keypair()
        self.socket.setsockopt(zmq.CURVE_PUBLICKEY, public_key)
        self.socket.setsockopt(zmq.CURVE_SECRETKEY, secret_key)
        self.socket.setsockopt(zmq.CURVE_SERVERKEY, masters_key)
        self.socket.setsockopt(zmq.IDENTITY, identity.encode())
        _limit_unknown_peers(self.socket)
        self.socket.connect(f"tcp://{host}:{port}")

    def send(self, message: Message) -> None:
        """Send a message to the master. Raises RPCSendError if the peer is not a master or reads nothing."""
        # Without NOBLOCK another greenlet could send between two frames of the message.
        try:
            self.socket.send_multipart(_frames(message), zmq.NOBLOCK)
        except zmq.Again as error:
            raise RPCSendError("the master accepts no message") from error

    def recv(self) -> Message:
        """Return the master's next message."""
        return _message(self.socket.recv_multipart())


def _limit_unknown_peers(socket: Any) -> None:
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_TIMEOUT_MS)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)


def _frames(message: Message) -> list[Any]:
    data = message.serialize()
    return [data[start : start + FRAME_BYTES] for start in range(0, len(data), FRAME_BYTES)]


def _message(frames: list[bytes]) -> Message:
    message: Message = Message.unserialize(b"".join(frames))
    return message
