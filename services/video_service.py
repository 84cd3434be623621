"""VideoService: one method of each kind that gRPC has, on the videos of the catalogue."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from itertools import cycle, islice

import grpc

from services.call import Context
from services.catalogue import Catalogue
from services.errors import RpcStatusError
from services.video_service_pb2 import (
    AddVideoReply,
    GetVideoRequest,
    GetVideosReply,
    ListVideosRequest,
    Video,
)
from services.video_service_pb2_grpc import VideoServiceServicer

IDS_LIMIT = 1000  # ids in one GetVideos; limits the size of the reply
CYCLE_LIMIT = 100_000  # messages in one ListVideos with cycle
GAP_LIMIT_MS = 60_000


class VideoService(VideoServiceServicer):
    """The four methods. LedgerInterceptor turns RpcStatusError into the status of the call."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def AddVideo(self, request: Video, context: Context) -> AddVideoReply:  # noqa: N802, ARG002
        """Add a video and return it. Raises RpcStatusError: INVALID_ARGUMENT, ALREADY_EXISTS."""
        self._catalogue.add(request)
        return AddVideoReply(video=request)

    async def ListVideos(  # noqa: N802
        self,
        request: ListVideosRequest,
        context: Context,  # noqa: ARG002
    ) -> AsyncIterator[Video]:
        """Send the videos, newest first, as they are at the start of the call.

        `cycle` sends them again and again; `gap_ms` is the time between two messages. The stream holds no
        slot while it waits. Raises RpcStatusError: INVALID_ARGUMENT.
        """
        _check(request)
        videos: Iterable[Video] = self._catalogue.newest(request.limit)
        if request.cycle:
            videos = islice(cycle(videos), request.limit)
        gap_s = request.gap_ms / 1000
        started_s = time.monotonic()
        for number, video in enumerate(videos):
            if gap_s and (wait_s := started_s + number * gap_s - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            yield video

    async def GetVideos(  # noqa: N802
        self,
        request_iterator: AsyncIterator[GetVideoRequest],
        context: Context,  # noqa: ARG002
    ) -> GetVideosReply:
        """Return the videos found and the unknown ids. Raises RpcStatusError: INVALID_ARGUMENT."""
        reply = GetVideosReply()
        count = 0
        async for request in request_iterator:
            count += 1
            if count > IDS_LIMIT:
                message = f"more than {IDS_LIMIT} ids in one call"
                raise RpcStatusError(grpc.StatusCode.INVALID_ARGUMENT, message)
            video = self._catalogue.find(request.id)
            if video is None:
                reply.unknown_ids.append(request.id)
            else:
                reply.videos.append(video)
        return reply

    async def GetVideo(  # noqa: N802
        self,
        request_iterator: AsyncIterator[GetVideoRequest],
        context: Context,  # noqa: ARG002
    ) -> AsyncIterator[Video]:
        """Send the video of each id when the id arrives. Raises RpcStatusError: NOT_FOUND."""
        async for request in request_iterator:
            video = self._catalogue.find(request.id)
            if video is None:
                raise RpcStatusError(grpc.StatusCode.NOT_FOUND, f"no video with id {request.id[:40]!r} here")
            yield video


def _check(request: ListVideosRequest) -> None:
    if request.cycle and not 1 <= request.limit <= CYCLE_LIMIT:
        problem = f"limit is {request.limit}, expected 1 to {CYCLE_LIMIT} with cycle"
    elif request.gap_ms > GAP_LIMIT_MS:
        problem = f"gap_ms is {request.gap_ms}, expected at most {GAP_LIMIT_MS}"
    else:
        return
    raise RpcStatusError(grpc.StatusCode.INVALID_ARGUMENT, problem)
