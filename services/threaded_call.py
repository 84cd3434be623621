"""A call of a threaded server: it has a thread, and its handler runs as a coroutine on an event loop.

The thread does what blocks: it reads the caller's messages and sends the answers when the coroutine asks for
that. So a stream is sent no faster than its caller reads it, and needs no second thread.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, NoReturn

import grpc

_READ: Any = object()
_END: Any = object()
# When a caller cancels, gRPC may report the end of its requests slightly before the cancellation.
_CANCELLATION_DELAY_S = 0.002


class AbortedError(Exception):
    """A handler ends its call with this status."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class LoopWork:
    """The coroutines that threads have started on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._running: set[Future[Any]] = set()
        self._cut_off = False

    def begin(self, work: Coroutine[Any, Any, Any]) -> "Future[Any]":
        """Run a coroutine on the loop and return its future. May be called from any thread."""
        done = asyncio.run_coroutine_threadsafe(work, self.loop)
        self._running.add(done)
        done.add_done_callback(self._running.discard)
        if self._cut_off:
            done.cancel()
        return done

    def cut_off(self) -> None:
        """Cancel all running coroutines, and later ones as soon as they start."""
        self._cut_off = True
        for done in list(self._running):
            done.cancel()


class ThreadedCall:
    """One call of a threaded server. Its handler uses it like a grpc.aio context.

    `requests`: the caller's messages if they are a stream.
    """

    def __init__(self, context: grpc.ServicerContext, requests: Iterator[Any], work: LoopWork) -> None:
        self._context = context
        self._requests = requests
        self._work = work
        self._operations: SimpleQueue[tuple[Any, asyncio.Future[Any]] | None] = SimpleQueue()
        self.answer: Any = None
        self.invocation_metadata = context.invocation_metadata
        self.peer = context.peer
        self.time_remaining = context.time_remaining
        self.set_trailing_metadata = context.set_trailing_metadata

    def run(self, handler: Coroutine[Any, Any, Any]) -> Iterator[Any]:
        """Run the handler, and serve its reads and writes on the call's thread. Yields each message to send.

        At the end `answer` is the handler's result. Raises the handler's error, or CancelledError of
        concurrent.futures if it was cancelled, by cut_off() or because its caller has gone.
        """
        done = self._work.begin(handler)
        done.add_done_callback(lambda _: self._operations.put(None))
        try:
            while (operation := self._operations.get()) is not None:
                wanted, granted = operation
                if wanted is _READ:
                    reply = self._read(done)
                else:
                    yield wanted
                    reply = None
                self._work.loop.call_soon_threadsafe(_grant, granted, reply)
            self.answer = done.result()
        finally:
            done.cancel()  # gRPC closes the iterator of a stream when its caller has gone

    def _read(self, done: "Future[Any]") -> Any:
        try:
            return next(self._requests, _END)
        except grpc.RpcError:  # the caller has gone
            done.cancel()
            return _END

    async def requests(self) -> AsyncIterator[Any]:
        """Yield the caller's messages."""
        while (request := await self._ask(_READ)) is not _END:
            yield request

    async def write(self, message: Any) -> None:
        """Send one message of a stream. Returns when gRPC has taken it."""
        await self._ask(message)

    async def read(self) -> Any:
        """Return EOF after the last request. Raises CancelledError if the caller has gone."""
        await asyncio.sleep(_CANCELLATION_DELAY_S)
        if not self._context.is_active():
            raise asyncio.CancelledError
        return grpc.aio.EOF

    async def send_initial_metadata(self, metadata: Sequence[tuple[str, str]]) -> None:
        """Send the initial metadata. Raises CancelledError if the caller has gone."""
        try:
            self._context.send_initial_metadata(tuple(metadata))
        except grpc.RpcError:
            raise asyncio.CancelledError from None

    async def abort(self, code: grpc.StatusCode, message: str) -> NoReturn:
        """End the call with this status: raises AbortedError."""
        raise AbortedError(code, message)

    async def _ask(self, wanted: Any) -> Any:
        granted: asyncio.Future[Any] = self._work.loop.create_future()
        self._operations.put((wanted, granted))
        return await granted


def _grant(granted: "asyncio.Future[Any]", reply: Any) -> None:
    if not granted.done():
        granted.set_result(reply)
