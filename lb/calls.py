"""The four calls of VideoService, one of each kind that gRPC knows, each returning the same Answer."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from lb.clock import NS_PER_MS, sleep_until
from lb.settings import MAX_PAYLOAD_BYTES
from services import video_service_pb2 as pb
from services.video_service_pb2_grpc import VideoServiceStub

Metadata = tuple[tuple[str, str], ...]

FIELD_LIMIT = 1000  # characters of one field that a replica's catalogue takes
FILLER = "A video about where requests really go. "  # compresses about as well as prose does
CODE_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
OK = 0
MASK = "Internal error from Core"  # the details of the INTERNAL that grpc.aio makes of a failed write
MASKED_STATUS_MS = 1000  # patience with the status that it hides; seen within some ms


class OutgoingCall(NamedTuple):
    """What one call is given.

    `key`: the id of a video to add; `planned_ns`: monotonic; `hear`: told of the headers that a stream's
    first message brings, while the stream goes on.
    """

    key: str
    metadata: Metadata
    timeout_s: float
    planned_ns: int
    hear: Callable[[Any], None]


class Message(NamedTuple):
    """One message of a stream, in monotonic ns. `replica`: who the message itself says that it is from."""

    planned_ns: int
    sent_ns: int
    received_ns: int
    replica: str


class Answer(NamedTuple):
    """How one call ended, and when (monotonic ns). `initial`, `trailing`: grpc.aio.Metadata."""

    code: str
    done_ns: int
    initial: Any
    trailing: Any
    messages: list[Message]


class VideoCalls:
    """Calls over one channel. Streams have `messages` messages, message k planned k gaps after the call.

    Gaps are whole milliseconds, as timers and ListVideosRequest count.
    """

    def __init__(
        self, channel: grpc.aio.Channel, messages: int, gap_ms: float = 0, payload_bytes: int = 0
    ) -> None:
        self._stub: Any = VideoServiceStub(channel)  # type: ignore[no-untyped-call]
        self._ids = [f"sample-{number % 10}" for number in range(messages)]
        self._gap_ms = round(gap_ms)
        self._gap_ns = self._gap_ms * NS_PER_MS
        self._texts = video_texts(payload_bytes)

    async def add_video(self, sending: OutgoingCall) -> Answer:
        """Unary: add a video with the id `sending.key`."""
        video = pb.Video(id=sending.key, duration=1, **self._texts)
        call = self._stub.AddVideo(video, metadata=sending.metadata, timeout=sending.timeout_s)
        code = await call.code()
        done_ns = time.monotonic_ns()
        return Answer(code.name, done_ns, await call.initial_metadata(), await call.trailing_metadata(), [])

    async def list_videos(self, sending: OutgoingCall) -> Answer:
        """Server stream, paced by the replica. A message's `sent_ns` is that of the one request."""
        count, gap_ns = len(self._ids), self._gap_ns
        request = pb.ListVideosRequest(limit=count, cycle=True, gap_ms=self._gap_ms)
        sent_ns = time.monotonic_ns()
        call = self._stub.ListVideos(request, metadata=sending.metadata, timeout=sending.timeout_s)
        messages: list[Message] = []

        async def exchange() -> None:
            planned_ns = sending.planned_ns
            async for video in call:
                messages.append(Message(planned_ns, sent_ns, time.monotonic_ns(), video.served_by))
                planned_ns += gap_ns
                if len(messages) == 1:
                    sending.hear(await call.initial_metadata())

        return await _stream(call, exchange, messages)

    async def get_videos(self, sending: OutgoingCall) -> Answer:
        """Client stream: ids in, one reply, which is every message's answer."""
        call = self._stub.GetVideos(metadata=sending.metadata, timeout=sending.timeout_s)
        messages: list[Message] = []

        async def exchange() -> None:
            instants = []
            planned_ns = sending.planned_ns
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

    async def get_video(self, sending: OutgoingCall) -> Answer:
        """Bidirectional ping-pong: an id, its video; the next id at its time, but not before that video."""
        call = self._stub.GetVideo(metadata=sending.metadata, timeout=sending.timeout_s)
        messages: list[Message] = []

        async def exchange() -> None:
            planned_ns = sending.planned_ns
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
                    sending.hear(await call.initial_metadata())
            await call.done_writing()

        return await _stream(call, exchange, messages)

    def by_method(self) -> dict[str, Callable[[OutgoingCall], Awaitable[Answer]]]:
        """Method name of the proto -> the call."""
        return {
            "AddVideo": self.add_video,
            "ListVideos": self.list_videos,
            "GetVideos": self.get_videos,
            "GetVideo": self.get_video,
        }


METHODS = ("AddVideo", "ListVideos", "GetVideos", "GetVideo")


def video_texts(payload_bytes: int) -> dict[str, str]:
    """The texts of a video to add, by field: a few words, or `payload_bytes` ASCII characters in all.

    Raises ValueError for more than MAX_PAYLOAD_BYTES.
    """
    if not payload_bytes:
        return {"title": "Load", "author": "lb-lab", "url": "https://example.com/v.mp4"}
    if not 0 < payload_bytes <= MAX_PAYLOAD_BYTES:
        raise ValueError(f"payload_bytes is {payload_bytes}, expected 0 to {MAX_PAYLOAD_BYTES}")
    text = (FILLER * (payload_bytes // len(FILLER) + 1))[:payload_bytes]
    fields = ("title", "author", "url")
    return {
        name: text[number * FIELD_LIMIT : (number + 1) * FIELD_LIMIT] for number, name in enumerate(fields)
    }


async def _stream(call: Any, exchange: Callable[[], Awaitable[None]], messages: list[Message]) -> Answer:
    ends: list[tuple[int, Any]] = []
    # A stream may be cut off between two of its messages, long before the next one finds out.
    call.add_done_callback(lambda call: ends.append((time.monotonic_ns(), call._cython_call._status)))
    # The call's own status, read below, says why an exchange ended early.
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, cygrpc.InternalError):
        await exchange()
    await call.code()
    ended_ns, first = ends[0]
    status = await _true_status(call, first)
    done_ns = time.monotonic_ns() if status.code() == OK else ended_ns
    trailing = grpc.aio.Metadata.from_tuple(status.trailing_metadata() or ())
    return Answer(CODE_NAMES[status.code()], done_ns, await call.initial_metadata(), trailing, messages)


async def _true_status(call: Any, first: Any) -> Any:
    """What came over the wire as the call's status; `first`: the status that it had first.

    A write that fails because the call has ended makes grpc.aio put an INTERNAL of its own in the place of
    the status, which came before or comes a little later (grpc/grpc#36066).
    """
    for _ in range(MASKED_STATUS_MS):
        for status in (first, call._cython_call._status):
            if status.details() != MASK:
                return status
        await asyncio.sleep(0.001)
    return first
