"""A session: calls of one client with the same identity. Sticky policies keep a session on one replica."""

import asyncio
from collections.abc import Iterable

from lb.calls import Metadata
from lb.cookies import CookieJar
from lb.plan import NOT_RECORDED, NS_PER_S, drawn_lifetime_s
from lb.settings import ClientSettings
from lb.source_address import source_address
from lb.trace_id import trace_headers


class Session:
    """The identity of a session: its key, its cookies and the header that it echoes.

    `opens_ns`: planned instant of its first call, on any clock. `ends_ns`: when it ends, on the same clock;
    None: never. `first_call_sent`: set by the client. `first_call_ended`: set when the first call has ended;
    `first_answer_ns`: when that was, on the same clock.
    """

    def __init__(self, client: int, number: int, opens_ns: int, settings: ClientSettings) -> None:
        self.number = number
        lifetime_s = settings.session_lifetime_s
        if lifetime_s is not None and settings.lifetimes_vary:
            lifetime_s = drawn_lifetime_s(lifetime_s, settings.draw, client, number)
        self.ends_ns = None if lifetime_s is None else opens_ns + round(lifetime_s * NS_PER_S)
        self.first_call_sent = False
        self.first_call_ended = asyncio.Event()
        self.first_answer_ns = 0
        self._jar = CookieJar(secure=settings.tls) if settings.cookie_jar else None
        self._echo_header = settings.echo_header
        self._echo: str | None = None
        self._trace_prefix = settings.trace_prefix
        self._fixed: Metadata = (("x-lab-session", f"{client}.{number}"),)
        if settings.headers:
            self._fixed = (*self._fixed, *settings.headers.items())
        if settings.draw:
            self._fixed = (*self._fixed, ("x-lab-draw", settings.draw))
        if settings.own_source_address:
            self._fixed = (*self._fixed, ("x-forwarded-for", source_address(client)))

    def metadata(self, request_id: int, work_ns: int = NOT_RECORDED) -> Metadata:
        """Return the metadata of the session's next call. `work_ns`: see Client.call."""
        metadata = (("x-lab-request-id", str(request_id)), *self._fixed)
        if self._jar is not None and (cookies := self._jar.header()):
            metadata = (*metadata, ("cookie", cookies))
        if self._echo is not None and self._echo_header is not None:
            metadata = (*metadata, (self._echo_header, self._echo))
        if work_ns != NOT_RECORDED:
            metadata = (*metadata, ("x-lab-work-ns", str(work_ns)))
        if self._trace_prefix:
            metadata = (*metadata, *trace_headers(self._trace_prefix, request_id))
        return metadata

    def end_first_call(self, at_ns: int) -> None:
        """Note that a call ended at `at_ns`. Only the first one counts."""
        if not self.first_call_ended.is_set():
            self.first_answer_ns = at_ns
            self.first_call_ended.set()

    def update(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Keep the cookies and the echo header of an answer's initial or trailing metadata."""
        if self._jar is not None:
            self._jar.keep(metadata)
        if self._echo_header is not None:
            for key, value in metadata:
                if key == self._echo_header and isinstance(value, str):
                    self._echo = value
