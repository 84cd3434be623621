"""A gRPC server with a thread pool, the classical way to serve gRPC in Python: one thread for each open call.

The work is that of the asyncio replica and runs on the replica's event loop; the call's thread waits for it.
So a call occupies a thread until it ends. Further calls wait in gRPC's queue, which no handler sees: their
queue_ns is 0. A handler learns that its caller has gone only when it reads or sends the next message.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services import video_service_pb2
from services.interceptors import PREFIX, VideoServiceInterceptor
from services.reflection import add_reflection
from services.threaded_call import AbortedError, LoopWork, ThreadedCall
from services.threaded_health import ThreadedHealth
from services.video_service_pb2_grpc import add_VideoServiceServicer_to_server

SERVICE = PREFIX.strip("/")


class ThreadedServer:
    """gRPC's threaded server with the interface of a grpc.aio server: an event loop starts and stops it."""

    def __init__(self, server: grpc.Server, pool: ThreadPoolExecutor, work: LoopWork) -> None:
        self._server = server
        self._pool = pool
        self._work = work
        self.add_insecure_port = server.add_insecure_port
        self.add_secure_port = server.add_secure_port

    async def start(self) -> None:
        """Start to serve."""
        self._server.start()

    async def stop(self, grace_s: float | None) -> None:
        """Accept no more calls, end open calls after the grace time, wait until all threads have ended."""
        await asyncio.to_thread(self._server.stop(grace_s).wait)
        self._work.cut_off()
        await asyncio.to_thread(self._pool.shutdown)


def threaded_server(
    threads: int,
    arguments: Sequence[tuple[str, Any]],
    videos: Any,
    interceptors: Sequence[VideoServiceInterceptor],
    health_service: ThreadedHealth,
) -> ThreadedServer:
    """Return a server with `threads` threads for VideoService, health and reflection.

    Call this on the event loop that runs the handlers. `interceptors`: the outermost first, as in grpc.aio.
    """
    work = LoopWork(asyncio.get_running_loop())
    pool = ThreadPoolExecutor(threads, "calls")
    server = grpc.server(pool, options=list(arguments))
    handlers = {
        name: _threaded(_wrapped(name, handler, interceptors), work)
        for name, handler in _handlers_of(videos).items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_registered_method_handlers(SERVICE, handlers)
    health_pb2_grpc.add_HealthServicer_to_server(health_service.servicer, server)
    add_reflection((video_service_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR), server)
    return ThreadedServer(server, pool, work)


class _Register:
    """Receives the handlers from a generated add_..._to_server function, in place of a server."""

    def __init__(self) -> None:
        self.handlers: Mapping[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Do nothing: add_registered_method_handlers gets the same handlers."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Keep the handlers."""
        self.handlers = handlers


def _handlers_of(videos: Any) -> Mapping[str, Any]:
    register = _Register()
    add_VideoServiceServicer_to_server(videos, register)  # type: ignore[no-untyped-call]
    return register.handlers


def _wrapped(name: str, handler: Any, interceptors: Sequence[VideoServiceInterceptor]) -> Any:
    for interceptor in reversed(interceptors):
        handler = interceptor.wrap(handler, name)
    return handler


def _threaded(handler: Any, work: LoopWork) -> Any:
    """Return the handler for a threaded server: its coroutine runs on the loop while the thread waits."""
    kind = (
        f"{'stream' if handler.request_streaming else 'unary'}_"
        f"{'stream' if handler.response_streaming else 'unary'}"
    )
    handle = getattr(handler, kind)

    def start(request: Any, context: grpc.ServicerContext) -> tuple[ThreadedCall, Iterator[Any]]:
        call = ThreadedCall(context, request, work)
        requests = call.requests() if handler.request_streaming else request
        return call, call.run(_run(handle, requests, call))

    def answer_many(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        _, messages = start(request, context)
        with _end_of_call(context):
            yield from messages

    def answer_one(request: Any, context: grpc.ServicerContext) -> Any:
        call, messages = start(request, context)
        with _end_of_call(context):
            list(messages)  # runs the handler to its end; there are no messages
        return call.answer

    make = getattr(grpc, f"{kind}_rpc_method_handler")
    serve = answer_many if handler.response_streaming else answer_one
    return make(serve, handler.request_deserializer, handler.response_serializer)


async def _run(handle: Callable[[Any, Any], Any], request: Any, call: ThreadedCall) -> Any:
    return await handle(request, call)


@contextmanager
def _end_of_call(context: grpc.ServicerContext) -> Iterator[None]:
    """End the call with the status with which its handler ended."""
    try:
        yield
    except AbortedError as error:
        context.abort(error.code, error.message)
    except CancelledError:  # the caller has its status already
        context.abort(grpc.StatusCode.CANCELLED, "ended by the server")
