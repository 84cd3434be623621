"""gRPC's health service in a threaded server."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2

from services.health import asked_for, unknown


class _Servicer(health.HealthServicer):  # type: ignore[misc]
    """gRPC's health servicer without its deadlock, with what services/health.py adds.

    grpcio-health-checking 1.85.1 notifies watchers while it holds its lock, and waits until the server's only
    event thread has sent the notification. When a Watch ends, that thread waits for the lock. If both happen
    at once, the whole server hangs. Here another thread waits for the lock.
    """

    def __init__(self) -> None:
        super().__init__()
        self._services = {health.OVERALL_HEALTH}

    def set(self, service: str, status: int) -> None:
        self._services.add(service)
        super().set(service, status)

    def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        if request.service not in self._services:
            context.abort(grpc.StatusCode.NOT_FOUND, unknown(request.service, self._services))
        return super().Check(request, context)

    def List(  # noqa: N802
        self,
        request: health_pb2.HealthListRequest,  # noqa: ARG002
        context: grpc.ServicerContext,
    ) -> health_pb2.HealthListResponse:
        answers = {name: self.Check(asked_for(name), context) for name in list(self._services)}
        return health_pb2.HealthListResponse(statuses=answers)

    def _on_close_callback(self, send: Callable[[Any], None], service: str) -> Callable[[], None]:
        remove = super()._on_close_callback(send, service)
        return lambda: Thread(target=remove, name="watch ended", daemon=True).start()


class ThreadedHealth:
    """gRPC's health service for a threaded server, with the interface of the asyncio one.

    `own_pool`: Check and List have a thread of their own. Otherwise they wait for one like the calls: the
    service's `experimental_thread_pool` serves Watch only. Source: grpc_health/v1/health.py and grpcio's
    _server.py, which reads that attribute of the handler. It belongs to the class, so it applies to all
    servers of a process.
    """

    def __init__(self, own_pool: bool) -> None:
        self.servicer: health.HealthServicer = _Servicer()
        pool = ThreadPoolExecutor(1, "health") if own_pool else None
        for method in (_Servicer.Check, _Servicer.List):
            method.experimental_thread_pool = pool  # type: ignore[attr-defined]

    async def set(self, service: str, status: Any) -> None:
        """Set the answer for one service. Returns when the watchers have been notified."""
        await asyncio.to_thread(self.servicer.set, service, status)

    async def enter_graceful_shutdown(self) -> None:
        """Answer NOT_SERVING from now on. Returns when the watchers have been notified."""
        await asyncio.to_thread(self.servicer.enter_graceful_shutdown)
