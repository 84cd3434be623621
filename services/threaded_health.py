"""gRPC's health service in a threaded server."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any

from grpc_health.v1 import health


class _Servicer(health.HealthServicer):  # type: ignore[misc]
    """gRPC's health servicer without its deadlock.

    grpcio-health-checking 1.85.1 notifies watchers while it holds its lock, and waits until the server's only
    event thread has sent the notification. When a Watch ends, that thread waits for the lock. If both happen
    at once, the whole server hangs. Here another thread waits for the lock.
    """

    def _on_close_callback(self, send: Callable[[Any], None], service: str) -> Callable[[], None]:
        remove = super()._on_close_callback(send, service)
        return lambda: Thread(target=remove, name="watch ended", daemon=True).start()


class ThreadedHealth:
    """gRPC's health service for a threaded server, with the interface of the asyncio one.

    `own_pool`: Check has a thread of its own. Otherwise it waits for a thread together with the calls: the
    service's `experimental_thread_pool` serves Watch only. Source: grpc_health/v1/health.py and grpcio's
    _server.py, which reads that attribute of the handler. It belongs to the class, so it applies to all
    servers of a process.
    """

    def __init__(self, own_pool: bool) -> None:
        self.servicer: health.HealthServicer = _Servicer()
        pool = ThreadPoolExecutor(1, "health") if own_pool else None
        health.HealthServicer.Check.experimental_thread_pool = pool

    async def set(self, service: str, status: Any) -> None:
        """Set the answer for one service. Returns when the watchers have been notified."""
        await asyncio.to_thread(self.servicer.set, service, status)

    async def enter_graceful_shutdown(self) -> None:
        """Answer NOT_SERVING from now on. Returns when the watchers have been notified."""
        await asyncio.to_thread(self.servicer.enter_graceful_shutdown)
