"""The videos of one replica: some samples that stay, and a limited number of added videos."""

from itertools import chain, islice

import grpc

from services.errors import RpcStatusError
from services.video_service_pb2 import Video

SAMPLES = 10
TEXT_LIMIT = 1000  # characters of one field; with the limit of videos this limits the memory


class Catalogue:
    """Videos by id. When more than `size` videos were added, the oldest added one is removed.

    Each video is kept with the name `replica` in `served_by`, ready to be sent.
    """

    def __init__(self, size: int, replica: str) -> None:
        self._size = size
        self._replica = replica
        self._samples = {video.id: video for video in (_sample(n, replica) for n in range(SAMPLES))}
        self._added: dict[str, Video] = {}

    def __len__(self) -> int:
        return len(self._samples) + len(self._added)

    def add(self, video: Video) -> None:
        """Add a video and set its `served_by` to this replica.

        Raises RpcStatusError: INVALID_ARGUMENT for a bad video, ALREADY_EXISTS for an id that is in use.
        """
        _check(video)
        if self.find(video.id) is not None:
            raise RpcStatusError(grpc.StatusCode.ALREADY_EXISTS, f"video {video.id!r} exists already")
        video.served_by = self._replica
        self._added[video.id] = video
        if len(self._added) > self._size:
            del self._added[next(iter(self._added))]

    def find(self, video_id: str) -> Video | None:
        """Return the video with this id, or None."""
        return self._added.get(video_id) or self._samples.get(video_id)

    def newest(self, limit: int) -> list[Video]:
        """Return the added videos, newest first, then the samples; at most `limit`, 0 for all."""
        newest_first = chain(reversed(self._added.values()), self._samples.values())
        return list(islice(newest_first, limit or None))


def _sample(number: int, replica: str) -> Video:
    return Video(
        id=f"sample-{number}",
        title=f"Sample Video {number}",
        author="lb-lab",
        url=f"https://example.com/sample-{number}.mp4",
        duration=60 + 10 * number,
        served_by=replica,
    )


def _check(video: Video) -> None:
    for field in ("id", "title"):
        if not getattr(video, field):
            raise _bad(video, field, "is empty, expected some text")
    for field in ("id", "title", "author", "url"):
        length = len(getattr(video, field))
        if length > TEXT_LIMIT:
            raise _bad(video, field, f"has {length} characters, expected at most {TEXT_LIMIT}")
    if video.duration < 0:
        raise _bad(video, "duration", f"is {video.duration}, expected 0 or more seconds")


def _bad(video: Video, field: str, problem: str) -> RpcStatusError:
    which = f"video {video.id[:40]!r}" if video.id else "video"
    return RpcStatusError(grpc.StatusCode.INVALID_ARGUMENT, f"{which}: {field} {problem}")
