"""Calls of one method of a service that is not the lab's: unary, or a stream of answers."""

import base64
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc

from lb.calls import Answer, OutgoingCall
from lb.settings import ClientSettings


class OwnCalls:
    """Makes the calls of client `number` over one channel. Messages are bytes: nobody reads the answers."""

    def __init__(self, channel: grpc.aio.Channel, settings: ClientSettings, number: int) -> None:
        rows = settings.service_requests
        self._requests: Sequence[bytes] = [base64.b64decode(one) for one in rows[number % len(rows)]]
        self._name = settings.service.rpartition("/")[2]
        self._streams = settings.service_streams
        kind = channel.unary_stream if self._streams else channel.unary_unary
        self._method: Any = kind(settings.service)

    async def call(self, outgoing: OutgoingCall) -> Answer:
        """Send the next request; return when the whole answer is there."""
        request = self._requests[outgoing.sequence % len(self._requests)]
        call = self._method(request, metadata=outgoing.metadata, timeout=outgoing.timeout_s)
        if self._streams:
            try:
                async for _ in call:
                    pass
            except grpc.aio.AioRpcError:
                pass  # the call's code, read below, says it
        code = await call.code()
        done_ns = time.monotonic_ns()
        initial, trailing = tuple(await call.initial_metadata()), tuple(await call.trailing_metadata())
        return Answer(code.name, done_ns, initial, trailing, [], await call.details() or "")

    def cancel_open_calls(self) -> None:
        """Do nothing: closing the channel ends these calls."""

    def by_method(self) -> dict[str, Callable[[OutgoingCall], Awaitable[Answer]]]:
        """Return the call by the method's own name."""
        return {self._name: self.call}
