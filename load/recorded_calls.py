"""Records every call of a gRPC stub that Locust's users have, with the columns of the client's ledger.

gRPC's own interceptors do it, so the stub is an ordinary one: blocking, for threads or for Locust's gevent.
What a user does between two messages of a stream is the user's matter; the rows say when each one was sent
and received.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import grpc

from lb.client import Row
from lb.rows import REQUEST_COLUMNS, REQUEST_IDS_PER_CLIENT, answer_columns
from lb.session import Session
from lb.settings import ClientSettings


class EndedCall(NamedTuple):
    """One call that has ended: its row, those of its messages, and what its status says besides the code."""

    row: dict[str, int | str]
    messages: list[Row]
    error: str


class CallLog(Protocol):
    """Where calls are recorded."""

    def begin(self, client: int) -> int:
        """Return the number of a client's next request. Waits as long as no call may begin."""
        ...

    def end(self, call: EndedCall) -> None:
        """Take a call that has ended."""
        ...


class CallDetails(NamedTuple):
    """What gRPC is told of a call; see grpc.ClientCallDetails."""

    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class OpenCall:
    """A call from its send to its end. Its row is made once, when it has ended."""

    def __init__(
        self, client: int, number: int, session: Session, settings: ClientSettings, log: CallLog
    ) -> None:
        self.request_id = client * REQUEST_IDS_PER_CLIENT + number
        self.sent_ns = time.monotonic_ns()
        self.instants: deque[int] = deque()  # when each message of the client was sent
        self._client = client
        self._session = session
        self._epoch_ns = settings.epoch_ns
        self._replica_key = settings.replica_key
        self._log: CallLog | None = log
        self._method = ""
        self._ended_ns: int | None = None
        self._messages: list[Row] = []

    def details(self, given: Any, deadline_s: float) -> CallDetails:
        """Return what gRPC is told: what the user gave, the session's metadata, and a deadline."""
        self._method = given.method.rpartition("/")[2]
        metadata = (*(given.metadata or ()), *self._session.metadata(self.request_id))
        timeout_s = deadline_s if given.timeout is None else given.timeout
        return CallDetails(
            given.method, timeout_s, metadata, given.credentials, given.wait_for_ready, given.compression
        )

    def sending(self, requests: Iterable[Any]) -> Iterator[Any]:
        """Pass the client's messages on, and note when."""
        for request in requests:
            self.instants.append(time.monotonic_ns())
            yield request

    def received(self, message: Any, sent_ns: int) -> None:
        """Note a message of the replica that answers one that was sent then."""
        now_ns = time.monotonic_ns()
        moments = (sent_ns - self._epoch_ns, sent_ns - self._epoch_ns, now_ns - self._epoch_ns)
        self._messages.append((self.request_id, len(self._messages), *moments, message.served_by))

    def answered(self, call: Any) -> None:
        """Note that the one answer of a call, or its failure, has come."""
        code = call.code()
        if self._method == "GetVideos" and code is grpc.StatusCode.OK:
            for video in call.result().videos:
                if self.instants:
                    self.received(video, self.instants.popleft())
        self.end(call)

    def note_end(self, _call: Any) -> None:
        """Note when the status has come. Messages before it may still be unread."""
        self._ended_ns = time.monotonic_ns()

    def forget(self) -> None:
        """Do not record the call."""
        self._log = None

    def end(self, call: Any, *, given_up: bool = False) -> None:
        """Record the call. Only the first time counts. given_up: the client has cancelled it just now.

        What is not there yet of a call that was given up is not waited for.
        """
        log, self._log = self._log, None
        if log is None:
            return
        done_ns = (self._ended_ns or time.monotonic_ns()) - self._epoch_ns
        done_ns = max([done_ns, *(int(row[4]) for row in self._messages)])
        initial = dict(call.initial_metadata() or ()) if self._messages or not given_up else {}
        trailing = {} if given_up else dict(call.trailing_metadata() or ())
        self._session.update(initial.items())
        self._session.update(trailing.items())
        code = "CANCELLED" if given_up else call.code().name
        sent_ns = self.sent_ns - self._epoch_ns
        identity = (self.request_id, self._client, self._session.number, self._method)
        moments = (sent_ns, sent_ns, sent_ns, done_ns)  # a user of Locust plans nothing
        told = answer_columns(code, len(self._messages), initial, trailing, self._replica_key)
        row = dict(zip(REQUEST_COLUMNS, (*identity, *moments, *told), strict=True))
        log.end(EndedCall(row, self._messages, "" if code == "OK" or given_up else call.details() or ""))


class RecordedStream:
    """The answer of a call with many messages: an iterator that is gRPC's own in all else.

    A stream that nobody reads to its end is cancelled, and recorded as CANCELLED.
    """

    def __init__(self, call: Any, open_call: OpenCall) -> None:
        self._call = call
        self._open_call = open_call
        call.add_done_callback(open_call.note_end)

    def __iter__(self) -> "RecordedStream":
        return self

    def __next__(self) -> Any:
        """Return the next message, as soon as there is one. Raises grpc.RpcError."""
        try:
            message = next(self._call)
        except Exception:  # the end, or a failure
            self.cancel()
            raise
        except BaseException:  # Locust stops the user: that is no call that failed
            self._open_call.forget()
            self._call.cancel()
            raise
        sent = self._open_call.instants
        self._open_call.received(message, sent.popleft() if sent else self._open_call.sent_ns)
        return message

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def cancel(self) -> bool:
        """End the call if it has not ended, and record it. Return whether it had not ended."""
        given_up = not self._call.done()
        if given_up:
            self._call.cancel()
        self._open_call.end(self._call, given_up=given_up)
        return given_up

    def __del__(self) -> None:
        self.cancel()


class RecordedCalls(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """An interceptor that gives each call of one client its identity, and records it in `log`."""

    def __init__(self, client: int, settings: ClientSettings, log: CallLog) -> None:
        self._client = client
        self._settings = settings
        self._log = log
        self._session = Session(client, 0, time.monotonic_ns(), settings)

    def _begin(self, given: Any) -> tuple[OpenCall, CallDetails]:
        number = self._log.begin(self._client)
        call = OpenCall(self._client, number, self._session, self._settings, self._log)
        return call, call.details(given, self._settings.deadline_s)

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """See grpc.UnaryUnaryClientInterceptor."""
        open_call, details = self._begin(client_call_details)
        call = continuation(details, request)
        call.add_done_callback(open_call.answered)
        return call

    def intercept_stream_unary(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        """See grpc.StreamUnaryClientInterceptor."""
        open_call, details = self._begin(client_call_details)
        call = continuation(details, open_call.sending(request_iterator))
        call.add_done_callback(open_call.answered)
        return call

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """See grpc.UnaryStreamClientInterceptor."""
        open_call, details = self._begin(client_call_details)
        return RecordedStream(continuation(details, request), open_call)

    def intercept_stream_stream(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        """See grpc.StreamStreamClientInterceptor."""
        open_call, details = self._begin(client_call_details)
        return RecordedStream(continuation(details, open_call.sending(request_iterator)), open_call)
