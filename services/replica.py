"""One replica: the process that serves VideoService, LabControl, health and reflection.

    python -m services.replica --name replica-0 --listen 127.0.0.1:0 --slots 2 --service-time exponential:10

Importing this module creates nothing of gRPC, so a process may import it once and fork many replicas.
"""

import asyncio
import gc
import json
import os
import signal
import socket
import ssl
import sys

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.behaviour import Behaviour
from services.call import Clock
from services.catalogue import Catalogue
from services.control import LabControl
from services.interceptors import BehaviourInterceptor, IdentityInterceptor, LedgerInterceptor
from services.ledger import Ledger
from services.options import Options, Tls, parse
from services.video_service import VideoService
from services.video_service_pb2 import DESCRIPTOR
from services.video_service_pb2_grpc import (
    add_LabControlServicer_to_server,
    add_VideoServiceServicer_to_server,
)

GRACE_S = 1.0
SERVICES = (
    *(service.full_name for service in DESCRIPTOR.services_by_name.values()),
    health.SERVICE_NAME,
    reflection.SERVICE_NAME,
)


class CannotStartError(Exception):
    """The replica cannot serve; the message says why."""


class Replica:
    """The server and its parts. Raises CannotStartError when the ledger or the port cannot be had."""

    def __init__(self, options: Options) -> None:
        self._options = options
        try:
            self._ledger = Ledger(options.ledger)
        except OSError as error:
            raise CannotStartError(f"cannot write the ledger {options.ledger}: {error.strerror}") from None
        behaviour = Behaviour(options.settings, f"{options.seed}/{options.name}")
        self._calls = LedgerInterceptor(options.name, self._ledger, Clock(options.epoch_ns))
        self._server = grpc.aio.server(
            interceptors=(self._calls, IdentityInterceptor(options.name), BehaviourInterceptor(behaviour)),
            # Otherwise a second server binds the same port in silence and takes half of the calls.
            options=(("grpc.so_reuseport", 0),),
        )
        self._health = health.aio.HealthServicer()
        self._control = LabControl(options.name, behaviour, self._health, self._ledger, self._calls)
        add_VideoServiceServicer_to_server(VideoService(Catalogue(options.catalogue_size)), self._server)  # type: ignore[no-untyped-call]
        add_LabControlServicer_to_server(self._control, self._server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(SERVICES, self._server)
        self.address = self._bind(options.listen, None)
        self.tls_address = self._bind(options.tls.listen, _credentials(options.tls)) if options.tls else None

    def _bind(self, listen: str, credentials: grpc.ServerCredentials | None) -> str:
        host, _, port = listen.rpartition(":")
        try:
            _try_address(host.strip("[]"), int(port))
            if credentials is None:
                bound_port = self._server.add_insecure_port(listen)
            else:
                bound_port = self._server.add_secure_port(listen, credentials)
        except (OSError, RuntimeError) as error:
            raise CannotStartError(f"cannot listen on {listen}: {error}") from None
        return f"{host}:{bound_port}"

    async def start(self) -> None:
        """Serve, and say so: in the ready file and on standard output."""
        await self._server.start()
        await self._control.set_serving(True)
        name, ready = self._options.name, self._options.ready
        tls = {"tls_address": self.tls_address} if self.tls_address else {}
        if ready:
            draft = ready.with_name(f".{ready.name}.{os.getpid()}")
            draft.write_text(json.dumps({"name": name, "address": self.address, "pid": os.getpid(), **tls}))
            draft.rename(ready)
        print(f"{name} serves on {self.address}{f', TLS on {self.tls_address}' if tls else ''}", flush=True)

    async def stop(self) -> None:
        """Say NOT_SERVING, take no more calls, let those here finish for a second, close the ledger."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(GRACE_S)
        while self._calls.started > self._calls.done:  # cancelled by the server, about to write their rows
            await asyncio.sleep(0.001)
        self._ledger.close()


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    """Raises CannotStartError for files that gRPC's core would take, to fail in every handshake."""
    try:
        pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key)
    except ssl.SSLError as error:
        told = f"{tls.certificate} and {tls.key} are not a certificate and its private key in PEM"
        raise CannotStartError(f"{told}: {error.strerror}") from None
    except OSError as error:
        raise CannotStartError(f"cannot read {error.filename}: {error.strerror}") from None
    return grpc.ssl_server_credentials([pair])


def _try_address(host: str, port: int) -> None:
    """Raises OSError with the system's reason, where gRPC's core would write lines of its own."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


async def serve(options: Options) -> None:
    """Serve until SIGTERM or SIGINT. Raises CannotStartError."""
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_stop.set)
    replica = Replica(options)
    gc.freeze()  # what is there now stays: not worth looking at again in each collection
    await replica.start()
    await asked_to_stop.wait()
    await replica.stop()


def main(argv: list[str] | None = None) -> int:
    """Run a replica; returns the exit code: 0 after a stop that was asked for, 1 if it cannot start."""
    options = parse(argv)
    try:
        uvloop.run(serve(options))
    except CannotStartError as error:
        print(f"{options.name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
