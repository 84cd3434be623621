"""The classical way to serve gRPC in Python: a pool of threads, each of which has one call from start to end.

The work itself is what the asyncio replica does, on the replica's event loop; the thread that gRPC gave the
call waits for it. So a call takes a thread for as long as it lasts, calls beyond the pool wait in gRPC's own
line, which no handler sees (their queue_ns is 0), and a handler does not hear that its caller has gone.
"""

import asyncio
import queue
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import grpc
from grpc_health.v1 import health, health_pb2_grpc

from services.interceptors import PREFIX, VideoServiceInterceptor
from services.video_service_pb2_grpc import add_VideoServiceServicer_to_server

_END: Any = object()
Serve = Callable[[Any, Any], Any]


class _AbortedError(Exception):
    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ThreadContext:
    """What the replica's asyncio handlers use of a call's context, over that of a thread's call."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context
        self.messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.invocation_metadata = context.invocation_metadata
        self.peer = context.peer
        self.time_remaining = context.time_remaining
        self.set_trailing_metadata = context.set_trailing_metadata

    async def send_initial_metadata(self, metadata: Sequence[tuple[str, str]]) -> None:
        """Send the headers now."""
        self._context.send_initial_metadata(tuple(metadata))

    async def write(self, message: Any) -> None:
        """Hand one message of a stream to the thread, which sends it."""
        self.messages.put(message)

    async def read(self) -> Any:
        """The end of the requests: whoever asks has had them all."""
        return grpc.aio.EOF

    async def abort(self, code: grpc.StatusCode, message: str) -> NoReturn:
        """End the call with this status."""
        raise _AbortedError(code, message)


class ThreadedServer:
    """gRPC's threaded server, to be started and stopped from an event loop as one of grpc.aio is."""

    def __init__(self, server: grpc.Server) -> None:
        self._server = server
        self.add_insecure_port = server.add_insecure_port
        self.add_secure_port = server.add_secure_port

    async def start(self) -> None:
        """Serve."""
        self._server.start()

    async def stop(self, grace_s: float | None) -> None:
        """Take no more calls; return when those here have ended, at the latest after the grace time."""
        await asyncio.to_thread(self._server.stop(grace_s).wait)


class ThreadedHealth:
    """The standard health service for a threaded server, with the asyncio one's interface.

    `own_pool`: Check has a thread of its own. Without it, it waits in line with the calls: the service's
    `experimental_thread_pool` is for Watch alone. Source: grpc_health/v1/health.py, grpcio's _server.py,
    which looks for that attribute on the handler; it is the class's, so of all servers of a process.
    """

    def __init__(self, own_pool: bool) -> None:
        self.servicer = health.HealthServicer()
        pool = ThreadPoolExecutor(1, "health") if own_pool else None
        health.HealthServicer.Check.experimental_thread_pool = pool

    async def set(self, service: str, status: Any) -> None:
        """Set the answer for one service."""
        self.servicer.set(service, status)

    async def enter_graceful_shutdown(self) -> None:
        """Say NOT_SERVING from now on."""
        self.servicer.enter_graceful_shutdown()


def threaded_server(
    threads: int,
    arguments: Sequence[tuple[str, Any]],
    videos: Any,
    interceptors: Sequence[VideoServiceInterceptor],
    health_service: ThreadedHealth,
) -> ThreadedServer:
    """A server with `threads` threads for VideoService and health; to be made on the replica's event loop.

    `interceptors`: the outermost first, as for grpc.aio.
    """
    loop = asyncio.get_running_loop()
    server = grpc.server(ThreadPoolExecutor(threads, "calls"), options=list(arguments))
    handlers = {
        name: _threaded(_wrapped(name, handler, interceptors), loop)
        for name, handler in _handlers_of(videos).items()
    }
    service = PREFIX.strip("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    health_pb2_grpc.add_HealthServicer_to_server(health_service.servicer, server)
    return ThreadedServer(server)


class _Register:
    """Takes the handlers that a generated add_..._to_server function brings."""

    def __init__(self) -> None:
        self.handlers: Mapping[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Not needed beside the next."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Keep them."""
        self.handlers = handlers


def _handlers_of(videos: Any) -> Mapping[str, Any]:
    register = _Register()
    add_VideoServiceServicer_to_server(videos, register)  # type: ignore[no-untyped-call]
    return register.handlers


def _wrapped(name: str, handler: Any, interceptors: Sequence[VideoServiceInterceptor]) -> Any:
    for interceptor in reversed(interceptors):
        handler = interceptor.wrap(handler, name)
    return handler


def _threaded(handler: Any, loop: asyncio.AbstractEventLoop) -> Any:
    """The same method for a threaded server: its coroutine runs on `loop`, the thread waits."""
    kind = (
        f"{'stream' if handler.request_streaming else 'unary'}_"
        f"{'stream' if handler.response_streaming else 'unary'}"
    )
    serve = _many(getattr(handler, kind), handler.request_streaming, loop)
    if not handler.response_streaming:
        serve = _one(getattr(handler, kind), handler.request_streaming, loop)
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    return make(serve, handler.request_deserializer, handler.response_serializer)


def _one(
    handle: Callable[[Any, Any], Awaitable[Any]], streaming: bool, loop: asyncio.AbstractEventLoop
) -> Serve:
    def serve(request: Any, context: grpc.ServicerContext) -> Any:
        adapted = ThreadContext(context)
        asked = _requests(request) if streaming else request
        try:
            return asyncio.run_coroutine_threadsafe(_run(handle, asked, adapted), loop).result()
        except _AbortedError as error:
            context.abort(error.code, error.message)

    return serve


def _many(
    handle: Callable[[Any, Any], Awaitable[Any]], streaming: bool, loop: asyncio.AbstractEventLoop
) -> Serve:
    def serve(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        adapted = ThreadContext(context)
        asked = _requests(request) if streaming else request
        done = asyncio.run_coroutine_threadsafe(_run(handle, asked, adapted), loop)
        done.add_done_callback(lambda _: adapted.messages.put(_END))
        while (message := adapted.messages.get()) is not _END:
            yield message
        try:
            done.result()
        except _AbortedError as error:
            context.abort(error.code, error.message)

    return serve


async def _run(handle: Callable[[Any, Any], Awaitable[Any]], request: Any, context: ThreadContext) -> Any:
    return await handle(request, context)


async def _requests(iterator: Iterator[Any]) -> AsyncIterator[Any]:
    """The requests of a stream, each waited for in a thread besides."""
    while (request := await asyncio.to_thread(_next, iterator)) is not _END:
        yield request


def _next(iterator: Iterator[Any]) -> Any:
    try:
        return next(iterator, _END)
    except grpc.RpcError:  # the caller has gone
        return _END
