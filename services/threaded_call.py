"""A call that has a thread of its own while its work is done on an event loop.

The coroutine asks, the thread does what blocks there: it reads the caller's messages and sends the answers.
So a stream goes no faster than its caller takes it, and needs no thread besides.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, NoReturn

import grpc

_READ: Any = object()
_END: Any = object()
_NEWS_S = 0.002  # when a caller goes, gRPC may tell the end of its requests a little before


class AbortedError(Exception):
    """The handler ends its call with this status."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class LoopWork:
    """What threads have under way on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._running: set[Future[Any]] = set()
        self._cut_off = False

    def begin(self, work: Coroutine[Any, Any, Any]) -> "Future[Any]":
        """Run it on the loop, from any thread."""
        done = asyncio.run_coroutine_threadsafe(work, self.loop)
        self._running.add(done)
        done.add_done_callback(self._running.discard)
        if self._cut_off:
            done.cancel()
        return done

    def cut_off(self) -> None:
        """Cancel everything under way, and from now on everything as it begins."""
        self._cut_off = True
        for done in list(self._running):
            done.cancel()


class ThreadedCall:
    """One call of a threaded server; for its handler, what a grpc.aio context would be.

    `requests`: the caller's messages where they are a stream.
    """

    def __init__(self, context: grpc.ServicerContext, requests: Iterator[Any], work: LoopWork) -> None:
        self._context = context
        self._requests = requests
        self._work = work
        self._asked: SimpleQueue[tuple[Any, asyncio.Future[Any]] | None] = SimpleQueue()
        self.answer: Any = None
        self.invocation_metadata = context.invocation_metadata
        self.peer = context.peer
        self.time_remaining = context.time_remaining
        self.set_trailing_metadata = context.set_trailing_metadata

    def run(self, handler: Coroutine[Any, Any, Any]) -> Iterator[Any]:
        """Serve the handler's wishes on the call's thread; yields each message that is to be sent.

        At the end `answer` is what the handler returned. Raises what it raised, concurrent.futures'
        CancelledError if it was cancelled: cut off, or its caller found to have gone.
        """
        done = self._work.begin(handler)
        done.add_done_callback(lambda _: self._asked.put(None))
        try:
            while (asked := self._asked.get()) is not None:
                wish, granted = asked
                if wish is _READ:
                    reply = self._read(done)
                else:
                    yield wish
                    reply = None
                self._work.loop.call_soon_threadsafe(_grant, granted, reply)
            self.answer = done.result()
        finally:
            done.cancel()  # gRPC drops the iterator of a stream that nobody reads any more

    def _read(self, done: "Future[Any]") -> Any:
        try:
            return next(self._requests, _END)
        except grpc.RpcError:  # the caller has gone
            done.cancel()
            return _END

    async def requests(self) -> AsyncIterator[Any]:
        """The caller's messages, one at a time."""
        while (request := await self._ask(_READ)) is not _END:
            yield request

    async def write(self, message: Any) -> None:
        """Send one message of a stream; returns when gRPC has taken it."""
        await self._ask(message)

    async def read(self) -> Any:
        """The end of the requests, for who has had them all. CancelledError: because the caller has gone."""
        await asyncio.sleep(_NEWS_S)
        if not self._context.is_active():
            raise asyncio.CancelledError
        return grpc.aio.EOF

    async def send_initial_metadata(self, metadata: Sequence[tuple[str, str]]) -> None:
        """Send the headers now. CancelledError: the caller has gone."""
        try:
            self._context.send_initial_metadata(tuple(metadata))
        except grpc.RpcError:
            raise asyncio.CancelledError from None

    async def abort(self, code: grpc.StatusCode, message: str) -> NoReturn:
        """End the call with this status."""
        raise AbortedError(code, message)

    async def _ask(self, wish: Any) -> Any:
        granted: asyncio.Future[Any] = self._work.loop.create_future()
        self._asked.put((wish, granted))
        return await granted


def _grant(granted: "asyncio.Future[Any]", reply: Any) -> None:
    if not granted.done():
        granted.set_result(reply)
