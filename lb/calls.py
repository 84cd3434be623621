"""The four calls of VideoService, one of each kind that gRPC has. Each returns an Answer."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from lb.clock import NS_PER_MS, sleep_until
from lb.rows import STREAM_METHODS
from lb.settings import MAX_PAYLOAD_BYTES
from services import video_service_pb2 as pb
from services.video_service_pb2_grpc import VideoServiceStub

Metadata = tuple[tuple[str, str], ...]
AnswerMetadata = tuple[tuple[str, str | bytes], ...]

MAX_FIELD_LENGTH = 1000  # characters; a replica refuses videos with longer fields
FILLER = "A video about where requests really go. "  # English text, so that it compresses like text
CODE_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
OK = 0
CANCELLED_DETAILS = "cancelled by the client"
# grpc.aio ends a call whose write fails with INTERNAL and these details, which hide the true status.
MASKING_DETAILS = "Internal error from Core"
TRUE_STATUS_TIMEOUT_MS = 1000  # the true status usually arrives within some ms


class OutgoingCall(NamedTuple):
    """What the client passes to one call.

    `sequence`: number of the call in the client's plan. `video_id`: id of the video that AddVideo adds.
    `planned_ns`: monotonic. `on_headers`: a stream calls it with its initial metadata when its first message
    has arrived.
    """

    video_id: str
    metadata: Metadata
    timeout_s: float
    planned_ns: int
    on_headers: Callable[[Any], None]
    sequence: int = 0


class Message(NamedTuple):
    """One message of a stream. Instants are monotonic ns. `replica`: the sender that the message names."""

    planned_ns: int
    sent_ns: int
    received_ns: int
    replica: str


class Answer(NamedTuple):
    """The end of one call: its gRPC code and when it ended (monotonic ns).

    `initial`, `trailing`: its metadata. `messages`: those of a stream, else empty.
    `error`: what the status says besides the code; "" after OK.
    """

    code: str
    done_ns: int
    initial: AnswerMetadata
    trailing: AnswerMetadata
    messages: list[Message]
    error: str


class VideoCalls:
    """Makes calls over one channel.

    Streams have `messages` messages. Message k is planned k gaps after the call. A gap is rounded to whole
    milliseconds, the unit of timers and of ListVideosRequest.
    """

    def __init__(
        self, channel: grpc.aio.Channel, messages: int, gap_ms: float = 0, payload_bytes: int = 0
    ) -> None:
        self._stub: Any = VideoServiceStub(channel)  # type: ignore[no-untyped-call]
        self._ids = [f"sample-{number % 10}" for number in range(messages)]
        self._gap_ms = round(gap_ms)
        self._gap_ns = self._gap_ms * NS_PER_MS
        self._texts = video_texts(payload_bytes)
        self._open: set[Any] = set()  # unary calls; the channel knows the streams

    async def add_video(self, outgoing: OutgoingCall) -> Answer:
        """Unary call: add a video.

        It is made as grpc.aio.UnaryUnaryCall makes it, but without that object: its task, its four further
        waits and its copies of the metadata cost as much as the call itself.
        """
        video = pb.Video(id=outgoing.video_id, duration=1, **self._texts)
        stub, deadline_unix_s = self._stub.AddVideo, time.time() + outgoing.timeout_s
        call = stub._channel.call(stub._method, deadline_unix_s, None, None, stub._registered_call_handle)
        self._open.add(call)
        try:
            await call.unary_unary(video.SerializeToString(), outgoing.metadata)
        except asyncio.CancelledError:
            call.cancel(CANCELLED_DETAILS)
            raise
        finally:
            self._open.discard(call)
        done_ns, status = time.monotonic_ns(), call._status
        trailing, error = status.trailing_metadata() or (), status.details() or ""
        return Answer(CODE_NAMES[status.code()], done_ns, call._initial_metadata, trailing, [], error)

    def cancel_open_calls(self) -> None:
        """End the open unary calls with CANCELLED. Closing the channel ends the streams."""
        for call in self._open:
            call.cancel(CANCELLED_DETAILS)

    async def list_videos(self, outgoing: OutgoingCall) -> Answer:
        """Server stream: the replica sends a message every gap. `sent_ns` of each is that of the request."""
        count, gap_ns = len(self._ids), self._gap_ns
        request = pb.ListVideosRequest(limit=count, cycle=True, gap_ms=self._gap_ms)
        sent_ns = time.monotonic_ns()
        call = self._stub.ListVideos(request, metadata=outgoing.metadata, timeout=outgoing.timeout_s)
        messages: list[Message] = []

        async def exchange() -> None:
            planned_ns = outgoing.planned_ns
            async for video in call:
                messages.append(Message(planned_ns, sent_ns, time.monotonic_ns(), video.served_by))
                planned_ns += gap_ns
                if len(messages) == 1:
                    outgoing.on_headers(await call.initial_metadata())

        return await _stream(call, exchange, messages)

    async def get_videos(self, outgoing: OutgoingCall) -> Answer:
        """Client stream: send ids. The one reply answers all messages."""
        call = self._stub.GetVideos(metadata=outgoing.metadata, timeout=outgoing.timeout_s)
        messages: list[Message] = []

        async def exchange() -> None:
            instants = []
            planned_ns = outgoing.planned_ns
            for video_id in self._ids:
                await sleep_until(planned_ns)
                instants.append((planned_ns, time.monotonic_ns()))
                await call.write(pb.GetVideoRequest(id=video_id))
                planned_ns += self._gap_ns
            await call.done_writing()
            reply = await call
            received_ns = time.monotonic_ns()
            messages.extend(
                Message(*instant, received_ns, video.served_by)
                for instant, video in zip(instants, reply.videos, strict=False)
            )

        return await _stream(call, exchange, messages)

    async def get_video(self, outgoing: OutgoingCall) -> Answer:
        """Bidirectional stream: send an id, wait for its video, send the next id when it is due."""
        call = self._stub.GetVideo(metadata=outgoing.metadata, timeout=outgoing.timeout_s)
        messages: list[Message] = []

        async def exchange() -> None:
            planned_ns = outgoing.planned_ns
            for video_id in self._ids:
                await sleep_until(planned_ns)
                sent_ns = time.monotonic_ns()
                await call.write(pb.GetVideoRequest(id=video_id))
                video = await call.read()
                if video is grpc.aio.EOF:
                    return
                messages.append(Message(planned_ns, sent_ns, time.monotonic_ns(), video.served_by))
                planned_ns += self._gap_ns
                if len(messages) == 1:
                    outgoing.on_headers(await call.initial_metadata())
            await call.done_writing()

        return await _stream(call, exchange, messages)

    def by_method(self) -> dict[str, Callable[[OutgoingCall], Awaitable[Answer]]]:
        """Return the calls by their method names in the proto."""
        return {
            "AddVideo": self.add_video,
            "ListVideos": self.list_videos,
            "GetVideos": self.get_videos,
            "GetVideo": self.get_video,
        }


METHODS = ("AddVideo", *STREAM_METHODS)


def video_texts(payload_bytes: int) -> dict[str, str]:
    """Return the text fields of a video to add: a few words, or `payload_bytes` ASCII characters in total.

    Raises ValueError for more than MAX_PAYLOAD_BYTES.
    """
    if not payload_bytes:
        return {"title": "Load", "author": "lb-lab", "url": "https://example.com/v.mp4"}
    if not 0 < payload_bytes <= MAX_PAYLOAD_BYTES:
        raise ValueError(f"payload_bytes is {payload_bytes}, expected 0 to {MAX_PAYLOAD_BYTES}")
    text = (FILLER * (payload_bytes // len(FILLER) + 1))[:payload_bytes]
    fields = ("title", "author", "url")
    return {
        name: text[number * MAX_FIELD_LENGTH : (number + 1) * MAX_FIELD_LENGTH]
        for number, name in enumerate(fields)
    }


async def _stream(call: Any, exchange: Callable[[], Awaitable[None]], messages: list[Message]) -> Answer:
    ends: list[tuple[int, Any]] = []
    # A stream may break between two messages. Only this callback learns when.
    call.add_done_callback(lambda call: ends.append((time.monotonic_ns(), call._cython_call._status)))
    # The call's status, read below, says why the exchange ended early.
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, cygrpc.InternalError):
        await exchange()
    await call.code()
    ended_ns, first = ends[0]
    status = await _true_status(call, first)
    done_ns = time.monotonic_ns() if status.code() == OK else ended_ns
    initial, trailing = tuple(await call.initial_metadata()), status.trailing_metadata() or ()
    return Answer(CODE_NAMES[status.code()], done_ns, initial, trailing, messages, status.details() or "")


async def _true_status(call: Any, first: Any) -> Any:
    """Return the status that the server sent. `first`: the status that the call had first.

    When a write fails because the call has ended, grpc.aio replaces the call's status by INTERNAL. The
    server's status came before or comes a little later (grpc/grpc#36066).
    """
    for _ in range(TRUE_STATUS_TIMEOUT_MS):
        for status in (first, call._cython_call._status):
            if status.details() != MASKING_DETAILS:
                return status
        await asyncio.sleep(0.001)
    return first
