"""The four calls of VideoService, one of each kind that gRPC knows, each returning the same Answer."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import grpc

from services import video_service_pb2 as pb
from services.video_service_pb2_grpc import VideoServiceStub

Metadata = tuple[tuple[str, str], ...]


class Answer(NamedTuple):
    """How one call ended. `messages`: (sent, received) monotonic ns of each message of a stream."""

    code: str
    initial: Mapping[str, Any]
    trailing: Mapping[str, Any]
    messages: list[tuple[int, int]]


class VideoCalls:
    """Calls over one channel; `messages_per_stream` sets how long the streaming ones are."""

    def __init__(self, channel: grpc.aio.Channel, messages_per_stream: int) -> None:
        self._stub: Any = VideoServiceStub(channel)  # type: ignore[no-untyped-call]
        self._ids = [f"sample-{number % 10}" for number in range(messages_per_stream)]

    async def add_video(self, key: str, metadata: Metadata, timeout_s: float) -> Answer:
        """Unary: add a video with id `key`."""
        video = pb.Video(id=key, title="Load", author="lb-lab", url="https://example.com/v.mp4", duration=1)
        call = self._stub.AddVideo(video, metadata=metadata, timeout=timeout_s)
        return await _answer(call, [])

    async def list_videos(self, _key: str, metadata: Metadata, timeout_s: float) -> Answer:
        """Server stream: the newest videos, one message each."""
        request = pb.ListVideosRequest(limit=len(self._ids))
        sent_ns = time.monotonic_ns()
        call = self._stub.ListVideos(request, metadata=metadata, timeout=timeout_s)
        messages: list[tuple[int, int]] = []

        async def exchange() -> None:
            async for _ in call:
                messages.append((sent_ns, time.monotonic_ns()))

        return await _stream(call, exchange, messages)

    async def get_videos(self, _key: str, metadata: Metadata, timeout_s: float) -> Answer:
        """Client stream: ids in, one reply."""
        call = self._stub.GetVideos(metadata=metadata, timeout=timeout_s)
        messages: list[tuple[int, int]] = []

        async def exchange() -> None:
            sent_ns = []
            for video_id in self._ids:
                sent_ns.append(time.monotonic_ns())
                await call.write(pb.GetVideoRequest(id=video_id))
            await call.done_writing()
            await call
            received_ns = time.monotonic_ns()
            messages.extend((at_ns, received_ns) for at_ns in sent_ns)

        return await _stream(call, exchange, messages)

    async def get_video(self, _key: str, metadata: Metadata, timeout_s: float) -> Answer:
        """Bidirectional ping-pong: an id, its video, the next id."""
        call = self._stub.GetVideo(metadata=metadata, timeout=timeout_s)
        messages: list[tuple[int, int]] = []

        async def exchange() -> None:
            for video_id in self._ids:
                sent_ns = time.monotonic_ns()
                await call.write(pb.GetVideoRequest(id=video_id))
                if await call.read() is grpc.aio.EOF:
                    return
                messages.append((sent_ns, time.monotonic_ns()))
            await call.done_writing()

        return await _stream(call, exchange, messages)

    def by_method(self) -> dict[str, Callable[[str, Metadata, float], Awaitable[Answer]]]:
        """Method name of the proto -> the call."""
        return {
            "AddVideo": self.add_video,
            "ListVideos": self.list_videos,
            "GetVideos": self.get_videos,
            "GetVideo": self.get_video,
        }


METHODS = ("AddVideo", "ListVideos", "GetVideos", "GetVideo")


async def _stream(
    call: Any, exchange: Callable[[], Awaitable[None]], messages: list[tuple[int, int]]
) -> Answer:
    # The call's own status, read below, says why an exchange ended early.
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await exchange()
    return await _answer(call, messages)


async def _answer(call: Any, messages: list[tuple[int, int]]) -> Answer:
    code = await call.code()
    return Answer(code.name, await call.initial_metadata(), await call.trailing_metadata(), messages)
