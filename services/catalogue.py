"""The videos of one replica: a few samples that never go, and the videos added, bounded in number."""

from itertools import chain, islice

import grpc

from services.errors import RpcStatusError
from services.video_service_pb2 import Video

SAMPLES = 10
TEXT_LIMIT = 1000  # characters in one field: with the number of videos this bounds the memory


class Catalogue:
    """Videos by id. Beyond `size` added videos the oldest added one goes; samples do not count.

    Each is kept with `replica` in `served_by`, ready to be sent.
    """

    def __init__(self, size: int, replica: str) -> None:
        self._size = size
        self._replica = replica
        self._samples = {video.id: video for video in (_sample(n, replica) for n in range(SAMPLES))}
        self._added: dict[str, Video] = {}

    def __len__(self) -> int:
        return len(self._samples) + len(self._added)

    def add(self, video: Video) -> None:
        """Add a video; its `served_by` becomes this replica.

        Raises RpcStatusError: INVALID_ARGUMENT for a bad video, ALREADY_EXISTS for an id that is held.
        """
        _check(video)
        if self.find(video.id) is not None:
            raise RpcStatusError(grpc.StatusCode.ALREADY_EXISTS, f"video {video.id!r} exists already")
        video.served_by = self._replica
        self._added[video.id] = video
        if len(self._added) > self._size:
            del self._added[next(iter(self._added))]

    def find(self, video_id: str) -> Video | None:
        """The video with this id, None without one."""
        return self._added.get(video_id) or self._samples.get(video_id)

    def newest(self, limit: int) -> list[Video]:
        """The videos added, newest first, then the samples; at most `limit`, 0 for all."""
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
