"""The server interceptors around each call of VideoService: ledger, identity and behaviour.

A server has them in this order; the ledger's is the outermost. Each interceptor wraps the handler of a method
once and keeps it, so a call costs one dictionary look-up. Calls of other services are not wrapped.
Source: gRPC Python's `grpc.aio.ServerInterceptor`, which returns a handler for each call.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc

from services.behaviour import Behaviour
from services.call import CALL, Call, Clock, Context, address_of, request_of
from services.errors import RpcStatusError
from services.latency_estimate import LatencyEstimate
from services.ledger import Ledger
from services.load_report import METADATA_KEY

PREFIX = "/video_service.VideoService/"

AnswerOne = Callable[[Any, Context], Awaitable[Any]]
AnswerMany = Callable[[Any, Context], Any]


@dataclass(frozen=True)
class Method:
    """One method of VideoService, with the handler of the next interceptor or of the service.

    `handle(request, context)` takes one request or an iterator of requests. It is a coroutine function that
    returns one answer, or an async generator function that yields answers.
    """

    name: str
    request_streaming: bool
    handle: Callable[[Any, Context], Any]


class VideoServiceInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the handlers of VideoService. A method answers with one message or with a stream."""

    def __init__(self) -> None:
        self._wrapped: dict[str, Any] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the wrapped handler of a VideoService method, or the unchanged handler of another method."""
        path = handler_call_details.method
        if path in self._wrapped:
            return self._wrapped[path]
        handler = await continuation(handler_call_details)
        if handler is not None and path.startswith(PREFIX):
            handler = self._wrapped[path] = self.wrap(handler, path.removeprefix(PREFIX))
        return handler

    def wrap(self, handler: Any, name: str) -> Any:
        """Return the wrapped handler of the method `name`."""
        kind = f"{_arity(handler.request_streaming)}_{_arity(handler.response_streaming)}"
        wrap = self.answer_many if handler.response_streaming else self.answer_one
        wrapped = wrap(Method(name, handler.request_streaming, getattr(handler, kind)))
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(wrapped, handler.request_deserializer, handler.response_serializer)

    def answer_one(self, method: Method) -> AnswerOne:
        """Return a handler around a method that returns one answer."""
        raise NotImplementedError

    def answer_many(self, method: Method) -> AnswerMany:
        """Return a handler around a method that yields answers."""
        raise NotImplementedError


def _arity(streaming: bool) -> str:
    return "stream" if streaming else "unary"


class LedgerInterceptor(VideoServiceInterceptor):
    """Creates a Call when a call arrives. Before the call ends, writes its row and sets trailing metadata.

    `started`, `done`: numbers of calls so far. `latency`: what answered calls took, by load.
    """

    def __init__(self, replica: str, ledger: Ledger, clock: Clock, behaviour: Behaviour) -> None:
        super().__init__()
        self._replica = replica
        self._ledger = ledger
        self._clock = clock
        self._behaviour = behaviour
        self.started = 0
        self.done = 0
        self.latency = LatencyEstimate()

    def answer_one(self, method: Method) -> AnswerOne:
        """Record a call that has one answer."""

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
        """Record a call that has a stream of answers."""

        async def handle(request: Any, context: Context) -> None:
            call = self._arrive(method.name, context)
            try:
                async for answer in method.handle(request, context):
                    await context.write(answer)
                    call.messages += 1
                if method.request_streaming:
                    # When a caller cancels, its requests end as if it had sent all of them. One more read
                    # finds nothing, but returns only after the cancellation has reached this task.
                    await context.read()
            except BaseException as error:
                await self._fail(call, context, error)
            self._finish(call, context, "OK")

        return handle

    def _arrive(self, name: str, context: Context) -> Call:
        self.started += 1
        metadata = context.invocation_metadata() or ()
        request_id, identity = request_of(metadata)
        call = Call(
            request_id=request_id,
            method=name,
            peer=address_of(context.peer()),
            arrived_ns=self._clock.now_ns(),
            in_flight=self.started - self.done,
            metadata=metadata,
            identity=identity,
        )
        CALL.set(call)
        return call

    def _finish(self, call: Call, context: Context, code: str) -> None:
        self.done += 1
        done_ns = self._clock.now_ns()
        self._ledger.append(call, done_ns, code)
        if code == "OK":
            self.latency.learn(call.in_flight, done_ns - call.arrived_ns)
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
            # gRPC cancels the handler both when the caller cancels and when the deadline passes.
            late = context.time_remaining() == 0
            self._finish(call, context, "DEADLINE_EXCEEDED" if late else "CANCELLED")
        else:
            self._finish(call, context, "UNKNOWN")
        raise error


class IdentityInterceptor(VideoServiceInterceptor):
    """Sends the replica's name in initial metadata, just before the first message.

    An error before the first message is sent without initial metadata. It stays a trailers-only answer, the
    only kind that retries and Envoy's outlier detection see. An error with `after_headers` is the exception.
    """

    def __init__(self, replica: str) -> None:
        super().__init__()
        self._replica = replica

    def answer_one(self, method: Method) -> AnswerOne:
        """Send initial metadata after the work and before the answer."""

        async def handle(request: Any, context: Context) -> Any:
            try:
                answer = await method.handle(request, context)
            except RpcStatusError as error:
                if error.after_headers:
                    await self._send_identity(context)
                raise
            await self._send_identity(context)
            return answer

        return handle

    def answer_many(self, method: Method) -> AnswerMany:
        """Send initial metadata before the first answer, or at the end of a stream without answers."""

        async def handle(request: Any, context: Context) -> AsyncIterator[Any]:
            identity_sent = False
            try:
                async for answer in method.handle(request, context):
                    if not identity_sent:
                        await self._send_identity(context)
                        identity_sent = True
                    yield answer
            except RpcStatusError as error:
                if error.after_headers and not identity_sent:
                    await self._send_identity(context)
                raise
            if not identity_sent:
                await self._send_identity(context)

        return handle

    async def _send_identity(self, context: Context) -> None:
        peer = CALL.get().peer
        await context.send_initial_metadata((("x-lab-replica", self._replica), ("x-lab-connection", peer)))


class BehaviourInterceptor(VideoServiceInterceptor):
    """Does the work of each call: once before the answer; in GetVideo once for each message."""

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__()
        self._behaviour = behaviour

    def answer_one(self, method: Method) -> AnswerOne:
        """Work before the answer; with a stream of requests, after the last request."""

        async def handle(request: Any, context: Context) -> Any:
            call = CALL.get()
            self._behaviour.admit(call, context.time_remaining)
            if method.request_streaming:
                request = self._work_after(request)
            else:
                await self._behaviour.work(call)
            return await method.handle(request, context)

        return handle

    def answer_many(self, method: Method) -> AnswerMany:
        """Work before the stream of answers; with a stream of requests, before each request is passed on."""

        async def handle(request: Any, context: Context) -> AsyncIterator[Any]:
            call = CALL.get()
            self._behaviour.admit(call, context.time_remaining)
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
