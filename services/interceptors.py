"""What happens around each call of VideoService: ledger, identity and behaviour, one server interceptor each.

In a server they stand in this order, the ledger outermost. Each wraps a method's handler once and keeps
it: afterwards a call costs one dictionary look-up, and the other services of the server nothing else.
Source: gRPC Python's `grpc.aio.ServerInterceptor`, which returns a handler for each call.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc

from services.behaviour import Behaviour
from services.call import CALL, Call, Clock, Context, address_of, request_id_of
from services.errors import RpcStatusError
from services.ledger import Ledger
from services.load_report import METADATA_KEY

PREFIX = "/video_service.VideoService/"

AnswerOne = Callable[[Any, Context], Awaitable[Any]]
AnswerMany = Callable[[Any, Context], Any]


@dataclass(frozen=True)
class Method:
    """One method of VideoService, as the next interceptor or the service itself handles it.

    `handle(request, context)` takes one request or an iterator over many; it is a coroutine function
    that returns one answer, or an async generator function of many.
    """

    name: str
    request_streaming: bool
    handle: Callable[[Any, Context], Any]


class VideoServiceInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the handlers of VideoService, whose methods answer with one message or with a stream."""

    def __init__(self) -> None:
        self._wrapped: dict[str, Any] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The wrapped handler of a VideoService method; any other method's handler as it is."""
        path = handler_call_details.method
        if path in self._wrapped:
            return self._wrapped[path]
        handler = await continuation(handler_call_details)
        if handler is not None and path.startswith(PREFIX):
            handler = self._wrapped[path] = self.wrap(handler, path.removeprefix(PREFIX))
        return handler

    def wrap(self, handler: Any, name: str) -> Any:
        """The handler of the method called `name`, wrapped."""
        kind = f"{_arity(handler.request_streaming)}_{_arity(handler.response_streaming)}"
        wrap = self.answer_many if handler.response_streaming else self.answer_one
        wrapped = wrap(Method(name, handler.request_streaming, getattr(handler, kind)))
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(wrapped, handler.request_deserializer, handler.response_serializer)

    def answer_one(self, method: Method) -> AnswerOne:
        """A handler around a method that returns one answer."""
        raise NotImplementedError

    def answer_many(self, method: Method) -> AnswerMany:
        """A handler around a method that yields its answers."""
        raise NotImplementedError


def _arity(streaming: bool) -> str:
    return "stream" if streaming else "unary"


class LedgerInterceptor(VideoServiceInterceptor):
    """Opens a Call when one arrives; writes its row and sets its trailing metadata before its end leaves."""

    def __init__(self, replica: str, ledger: Ledger, clock: Clock, behaviour: Behaviour) -> None:
        super().__init__()
        self._replica = replica
        self._ledger = ledger
        self._clock = clock
        self._behaviour = behaviour
        self.started = 0
        self.done = 0

    def answer_one(self, method: Method) -> AnswerOne:
        """Record a call that is answered with one message."""

        async def handle(request: Any, context: Context) -> Any:
            call = self._arrive(method.name, context)
            try:
                answer = await method.handle(request, context)
            except BaseException as error:
                await self._fail(call, context, error)
            call.messages = 1
            self._finish(call, context, "OK")
            return answer

        return handle

    def answer_many(self, method: Method) -> AnswerMany:
        """Record a call that is answered with a stream."""

        async def handle(request: Any, context: Context) -> None:
            call = self._arrive(method.name, context)
            try:
                async for answer in method.handle(request, context):
                    await context.write(answer)
                    call.messages += 1
                if method.request_streaming:
                    # The requests of a cancelled call end like those of a caller who has no more. One more
                    # read, which finds nothing, returns only after the cancellation has reached this task.
                    await context.read()
            except BaseException as error:
                await self._fail(call, context, error)
            self._finish(call, context, "OK")

        return handle

    def _arrive(self, name: str, context: Context) -> Call:
        self.started += 1
        metadata = context.invocation_metadata() or ()
        call = Call(
            request_id=request_id_of(metadata),
            method=name,
            peer=address_of(context.peer()),
            arrived_ns=self._clock.now_ns(),
            in_flight=self.started - self.done,
            metadata=metadata,
        )
        CALL.set(call)
        return call

    def _finish(self, call: Call, context: Context, code: str) -> None:
        self.done += 1
        self._ledger.append(call, self._clock.now_ns(), code)
        trailing: tuple[tuple[str, str | bytes], ...] = (
            ("x-lab-replica", self._replica),
            ("x-lab-queue-ns", str(call.queue_ns)),
            ("x-lab-service-ns", str(call.service_ns)),
            ("x-lab-in-flight", str(call.in_flight)),
        )
        if call.cache:
            trailing = (*trailing, ("x-lab-cache", call.cache))
        if report := self._behaviour.load_report(code):
            trailing = (*trailing, (METADATA_KEY, report))
        context.set_trailing_metadata(trailing)

    async def _fail(self, call: Call, context: Context, error: BaseException) -> NoReturn:
        if isinstance(error, RpcStatusError):
            self._finish(call, context, error.code.name)
            await context.abort(error.code, error.message)
        elif isinstance(error, asyncio.CancelledError):
            # gRPC cancels the handler alike when its caller gives up and when the deadline passes.
            late = context.time_remaining() == 0
            self._finish(call, context, "DEADLINE_EXCEEDED" if late else "CANCELLED")
        else:
            self._finish(call, context, "UNKNOWN")
        raise error


class IdentityInterceptor(VideoServiceInterceptor):
    """Says who answers, in initial metadata just before the first message.

    An error before any message sends none, so that it stays a trailers-only answer: retries and Envoy's
    outlier detection see only those. Unless it says itself that it comes after headers.
    """

    def __init__(self, replica: str) -> None:
        super().__init__()
        self._replica = replica

    def answer_one(self, method: Method) -> AnswerOne:
        """Initial metadata between the work and its answer."""

        async def handle(request: Any, context: Context) -> Any:
            try:
                answer = await method.handle(request, context)
            except RpcStatusError as error:
                if error.after_headers:
                    await self._introduce(context)
                raise
            await self._introduce(context)
            return answer

        return handle

    def answer_many(self, method: Method) -> AnswerMany:
        """Initial metadata before the first answer, or at the end of a stream without answers."""

        async def handle(request: Any, context: Context) -> AsyncIterator[Any]:
            introduced = False
            try:
                async for answer in method.handle(request, context):
                    if not introduced:
                        await self._introduce(context)
                        introduced = True
                    yield answer
            except RpcStatusError as error:
                if error.after_headers and not introduced:
                    await self._introduce(context)
                raise
            if not introduced:
                await self._introduce(context)

        return handle

    async def _introduce(self, context: Context) -> None:
        peer = CALL.get().peer
        await context.send_initial_metadata((("x-lab-replica", self._replica), ("x-lab-connection", peer)))


class BehaviourInterceptor(VideoServiceInterceptor):
    """Makes each call do its work: once before the answer, in GetVideo once for each message."""

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__()
        self._behaviour = behaviour

    def answer_one(self, method: Method) -> AnswerOne:
        """Work before the answer; for a stream of requests after the last of them."""

        async def handle(request: Any, context: Context) -> Any:
            call = CALL.get()
            self._behaviour.admit(call)
            if method.request_streaming:
                request = self._work_after(request)
            else:
                await self._behaviour.work(call)
            return await method.handle(request, context)

        return handle

    def answer_many(self, method: Method) -> AnswerMany:
        """Work before the stream of answers; for a stream of requests before passing on each of them."""

        async def handle(request: Any, context: Context) -> AsyncIterator[Any]:
            call = CALL.get()
            self._behaviour.admit(call)
            if method.request_streaming:
                request = self._work_each(request)
            else:
                await self._behaviour.work(call)
            async for answer in method.handle(request, context):
                yield answer

        return handle

    async def _work_after(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            yield request
        await self._behaviour.work(CALL.get())

    async def _work_each(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            await self._behaviour.work(CALL.get())
            yield request
