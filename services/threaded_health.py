"""The standard health service in a threaded server."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any

from grpc_health.v1 import health


class _Servicer(health.HealthServicer):  # type: ignore[misc]
    """gRPC's own, without its deadlock.

    grpcio-health-checking 1.85.1 tells those who Watch while it holds its lock, and waits for the server's
    one thread of events to have sent it; when a Watch ends, that very thread waits for the lock. When they
    meet, the whole server stands still for good. Here another thread waits instead.
    """

    def _on_close_callback(self, send: Callable[[Any], None], service: str) -> Callable[[], None]:
        forget = super()._on_close_callback(send, service)
        return lambda: Thread(target=forget, name="watch ended", daemon=True).start()


class ThreadedHealth:
    """The standard health service for a threaded server, with the asyncio one's interface.

    `own_pool`: Check has a thread of its own. Without it, it waits in line with the calls: the service's
    `experimental_thread_pool` is for Watch alone. Source: grpc_health/v1/health.py, grpcio's _server.py,
    which looks for that attribute on the handler; it is the class's, so of all servers of a process.
    """

    def __init__(self, own_pool: bool) -> None:
        self.servicer: health.HealthServicer = _Servicer()
        pool = ThreadPoolExecutor(1, "health") if own_pool else None
        health.HealthServicer.Check.experimental_thread_pool = pool

    async def set(self, service: str, status: Any) -> None:
        """Set the answer for one service; returns when those who Watch have been told."""
        await asyncio.to_thread(self.servicer.set, service, status)

    async def enter_graceful_shutdown(self) -> None:
        """Say NOT_SERVING from now on; returns when those who Watch have been told."""
        await asyncio.to_thread(self.servicer.enter_graceful_shutdown)
