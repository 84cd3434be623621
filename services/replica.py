"""The replica process: a gRPC server with VideoService, LabControl, health and reflection.

    python -m services.replica --name replica-0 --listen 127.0.0.1:0 --slots 2 --service-time exponential:10

Importing this module creates no gRPC objects, so a process may import it once and fork many replicas.
"""

import asyncio
import gc
import json
import os
import signal
import ssl
import sys

import grpc
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services import lab_control_pb2, video_service_pb2
from services.behaviour import Behaviour
from services.call import Clock
from services.catalogue import Catalogue
from services.errors import CannotStartError
from services.health import Health
from services.interceptors import BehaviourInterceptor, IdentityInterceptor, LedgerInterceptor
from services.lab_control import LabControl
from services.lab_control_pb2_grpc import add_LabControlServicer_to_server
from services.ledger import Ledger
from services.options import Options, Tls, parse
from services.outages import Outages
from services.reflection import add_reflection
from services.server import Server
from services.threaded_health import ThreadedHealth
from services.threaded_server import ThreadedServer, threaded_server
from services.video_service import VideoService
from services.video_service_pb2_grpc import add_VideoServiceServicer_to_server

PROTOS = (video_service_pb2.DESCRIPTOR, lab_control_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR)
LAME_DUCK_S = 0.05  # from NOT_SERVING to the stop of the server


class Replica:
    """A replica. Raises CannotStartError if the ledger cannot be written or a port is taken."""

    def __init__(self, options: Options) -> None:
        self._options = options
        try:
            self._ledger = Ledger(options.ledger)
        except OSError as error:
            raise CannotStartError(f"cannot write the ledger {options.ledger}: {error.strerror}") from None
        self._behaviour = Behaviour(options.settings, f"{options.seed}/{options.name}")
        self._calls = LedgerInterceptor(options.name, self._ledger, Clock(options.epoch_ns), self._behaviour)
        self._videos = VideoService(Catalogue(options.catalogue_size, options.name))
        settings = options.settings
        self._threaded = settings.server != "asyncio"
        self._health: Health | ThreadedHealth = (
            ThreadedHealth(own_pool=settings.server == "threads_own_health") if self._threaded else Health()
        )
        self._outages = Outages(self._go_away, self._come_back)
        identity = lab_control_pb2.Identity(
            name=options.name,
            pid=os.getpid(),
            max_connection_age_ms=settings.max_connection_age_ms or 0,
            server=settings.server,
        )
        self._control = LabControl(
            identity,
            self._behaviour,
            self._outages,
            self._health,
            self._ledger,
            self._calls,
            settings.slots if self._threaded else None,
        )
        self._interceptors = (
            self._calls,
            IdentityInterceptor(options.name),
            BehaviourInterceptor(self._behaviour),
        )
        self._server = Server(self._make_threaded if self._threaded else self._make_server)
        self.address = self._server.bind(options.listen, None)
        self.control_address = self.address
        self._control_server: Server | None = None
        if self._threaded:
            # LabControl has its own asyncio server: its calls must not wait for a thread.
            self._control_server = Server(self._make_control)
            host = options.listen.rpartition(":")[0]
            self.control_address = self._control_server.bind(f"{host}:0", None)
        tls = options.tls
        self.tls_address = self._server.bind(tls.listen, _credentials(tls)) if tls else None

    def _arguments(self) -> list[tuple[str, int]]:
        # By default a second server may bind the same port and takes half of the calls.
        arguments = [("grpc.so_reuseport", 0)]
        age_ms = self._options.settings.max_connection_age_ms
        if age_ms is not None:
            # Open calls may finish, however long they take: gRPC's default grace time is unlimited.
            arguments.append(("grpc.max_connection_age_ms", age_ms))
        return arguments

    def _make_server(self) -> grpc.aio.Server:
        server = grpc.aio.server(interceptors=self._interceptors, options=self._arguments())
        add_VideoServiceServicer_to_server(self._videos, server)  # type: ignore[no-untyped-call]
        add_LabControlServicer_to_server(self._control, server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        add_reflection(PROTOS, server)
        return server

    def _make_control(self) -> grpc.aio.Server:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        add_LabControlServicer_to_server(self._control, server)  # type: ignore[no-untyped-call]
        return server

    def _make_threaded(self) -> ThreadedServer:
        assert isinstance(self._health, ThreadedHealth)
        slots = self._options.settings.slots
        return threaded_server(slots, self._arguments(), self._videos, self._interceptors, self._health)

    async def run(self, asked_to_stop: asyncio.Event, nobody_calls: asyncio.Event) -> None:
        """Serve until `asked_to_stop` is set, except during outages. Raises CannotStartError.

        nobody_calls: set where nobody has to learn that it stops.
        """
        await self._start()
        outages = asyncio.create_task(self._outages.run())
        asked = asyncio.create_task(asked_to_stop.wait())
        await asyncio.wait((outages, asked), return_when=asyncio.FIRST_COMPLETED)
        self._outages.stop()
        try:
            await outages
        finally:
            asked.cancel()
            await self._stop(0.0 if nobody_calls.is_set() else LAME_DUCK_S)

    async def _start(self) -> None:
        """Start to serve, then write the ready file and print a line."""
        await self._server.start()
        if self._control_server is not None:
            await self._control_server.start()
        await self._control.set_serving(True)
        self._outages.plan(self._options.settings.outage)
        name, ready = self._options.name, self._options.ready
        tls = {"tls_address": self.tls_address} if self.tls_address else {}
        if ready:
            draft = ready.with_name(f".{ready.name}.{os.getpid()}")
            draft.write_text(json.dumps(self._identity() | tls))
            draft.rename(ready)
        print(f"{name} serves on {self.address}{f', TLS on {self.tls_address}' if tls else ''}", flush=True)

    def _identity(self) -> dict[str, str | int]:
        return {
            "name": self._options.name,
            "address": self.address,
            "control_address": self.control_address,
            "pid": os.getpid(),
        }

    async def _stop(self, lame_duck_s: float) -> None:
        """Report NOT_SERVING, accept no more calls, give open calls the grace time, close the ledger.

        All calls that gRPC has passed to a handler finish. Calls that arrive during the shutdown, or that
        gRPC has not yet passed on, end with CANCELLED at the caller and have no row. With grpcio 1.85.1 and
        12 connections that is about 1 call a stop at 400 calls/s and 1.5 at 1,200/s; with threads 0.3, and
        20 under overload. Python cannot send GOAWAY before the shutdown. Callers that watch the health
        service leave within `lame_duck_s`. At 400 calls/s 10 stops cost them 13 calls without that time and
        none with it; with threads 4.
        """
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(min(lame_duck_s, self._options.grace_s))
        await self._server.stop(self._options.grace_s)
        if self._control_server is not None:
            await self._control_server.stop(0)
        await self._rows_written()
        self._ledger.close()

    async def _go_away(self) -> None:
        await self._server.crash()
        await self._rows_written()

    async def _come_back(self) -> None:
        await self._server.start()

    async def _rows_written(self) -> None:
        while self._calls.started > self._calls.done:  # cancelled calls still have to write their rows
            await asyncio.sleep(0.001)


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    """Return the credentials. Raises CannotStartError for bad files: gRPC would fail in every handshake."""
    try:
        pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key)
    except ssl.SSLError as error:
        problem = f"{tls.certificate} and {tls.key} are not a certificate and its private key in PEM"
        raise CannotStartError(f"{problem}: {error.strerror}") from None
    except OSError as error:
        raise CannotStartError(f"cannot read {error.filename}: {error.strerror}") from None
    return grpc.ssl_server_credentials([pair])


async def serve(options: Options) -> None:
    """Serve until SIGTERM, or SIGINT, which says that nobody calls any more. Raises CannotStartError."""
    asked_to_stop, nobody_calls = asyncio.Event(), asyncio.Event()

    def stop_at_once() -> None:
        nobody_calls.set()
        asked_to_stop.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, asked_to_stop.set)
    loop.add_signal_handler(signal.SIGINT, stop_at_once)
    replica = Replica(options)
    gc.freeze()  # objects of the start-up live on; without them each collection is shorter
    await replica.run(asked_to_stop, nobody_calls)


def main(argv: list[str] | None = None) -> int:
    """Run a replica and return the exit status: 0 it was asked to stop, 1 it cannot start."""
    options = parse(argv)
    try:
        uvloop.run(serve(options))
    except CannotStartError as error:
        print(f"{options.name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
