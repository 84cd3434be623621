"""A cookie jar for gRPC: without one, a sticky balancer's cookie is never sent back.

gRPC has no cookies of its own. The interceptors below add the jar's cookies to each call and keep what
`set-cookie` brings, in initial metadata or, in an error without a body, in trailing metadata.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Any

import grpc

Interceptor = grpc.aio.ClientInterceptor
WHOLE_NUMBER = re.compile("-?[0-9]+")


class CookieJar:
    """The cookies of one client, name -> value, for one target and path "/"."""

    def __init__(self) -> None:
        self._cookies: dict[str, tuple[str, float]] = {}

    def header(self) -> str | None:
        """The `cookie` header to send now, or None when the jar holds nothing that is still valid."""
        if not self._cookies:
            return None
        now_s = time.monotonic()
        live = [f"{name}={value}" for name, (value, until_s) in self._cookies.items() if until_s > now_s]
        return "; ".join(live) or None

    def keep(self, metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
        """Take over every `set-cookie` of a call's metadata. A malformed one is ignored, as browsers do."""
        for key, value in metadata or ():
            if key == "set-cookie" and isinstance(value, str):
                self._set(value)

    def _set(self, text: str) -> None:
        try:
            morsels = SimpleCookie(text)
        except CookieError:
            return
        for name, morsel in morsels.items():
            age = morsel["max-age"]
            until_s = time.monotonic() + int(age) if WHOLE_NUMBER.fullmatch(age) else float("inf")
            # The coded value goes back byte for byte: Envoy quotes its base64.
            self._cookies[name] = (morsel.coded_value, until_s)


def cookie_interceptors(jar: CookieJar) -> list[Interceptor]:
    """The four interceptors, one per kind of call, that share `jar`."""
    return [_UnaryUnary(jar), _UnaryStream(jar), _StreamUnary(jar), _StreamStream(jar)]


class _JarInterceptor:
    def __init__(self, jar: CookieJar) -> None:
        self._jar = jar
        self._readers: set[asyncio.Task[None]] = set()

    def _with_cookies(self, details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
        header = self._jar.header()
        if header is None:
            return details
        metadata = (*(details.metadata or ()), ("cookie", header))
        return details._replace(metadata=metadata)  # type: ignore[attr-defined,no-any-return]

    async def _keep(self, call: Any) -> None:
        self._jar.keep(await call.initial_metadata())
        self._jar.keep(await call.trailing_metadata())

    async def _unary(self, continuation: Callable[..., Awaitable[Any]], details: Any, request: Any) -> Any:
        call = await continuation(self._with_cookies(details), request)
        # The answer is waited for here, so that the caller's next call already carries the cookie.
        await self._keep(call)
        return call

    async def _stream(self, continuation: Callable[..., Awaitable[Any]], details: Any, request: Any) -> Any:
        call = await continuation(self._with_cookies(details), request)
        # Headers may come only after the caller's first message, so nobody may wait for them here.
        reader = asyncio.ensure_future(self._keep(call))
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)
        return call


class _UnaryUnary(_JarInterceptor, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._unary(continuation, client_call_details, request)


class _UnaryStream(_JarInterceptor, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._stream(continuation, client_call_details, request)


class _StreamUnary(_JarInterceptor, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await self._stream(continuation, client_call_details, request_iterator)


class _StreamStream(_JarInterceptor, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await self._stream(continuation, client_call_details, request_iterator)
