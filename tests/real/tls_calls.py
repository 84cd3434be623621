"""Calls over TLS and in clear text, each on its own connection."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

from services.video_service_pb2 import GetVideoRequest, ListVideosRequest, Video
from services.video_service_pb2_grpc import VideoServiceStub

# By default gRPC shares one connection among channels with equal arguments.
OPTIONS = [("grpc.use_local_subchannel_pool", 1)]
TIMEOUT_S = 10


@contextmanager
def videos(address: str, authority: Path | None) -> Iterator[VideoServiceStub]:
    """Yield a stub for "host:port". It trusts the PEM file `authority`; None: it uses clear text."""
    if authority is None:
        channel = grpc.insecure_channel(address, OPTIONS)
    else:
        trusted = grpc.ssl_channel_credentials(authority.read_bytes())
        channel = grpc.secure_channel(address, trusted, OPTIONS)
    with channel:
        yield VideoServiceStub(channel)


def make_all_four_calls(address: str, authority: Path | None, name: str) -> None:
    """Add a video with the id `name`, and get it back with the other three methods."""
    with videos(address, authority) as stub:
        added = stub.AddVideo(Video(id=name, title="Sample Video"), timeout=TIMEOUT_S).video
        request = GetVideoRequest(id=name)
        assert added.id == name
        assert added in stub.ListVideos(ListVideosRequest(), timeout=TIMEOUT_S)
        assert list(stub.GetVideos(iter([request]), timeout=TIMEOUT_S).videos) == [added]
        assert list(stub.GetVideo(iter([request, request]), timeout=TIMEOUT_S)) == [added, added]


def refused(address: str, authority: Path | None) -> str:
    """Make a call that must fail, and return the error's details."""
    with videos(address, authority) as stub:
        try:
            stub.AddVideo(Video(id="refused", title="Sample Video"), timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE
            return str(error.details())
    raise AssertionError(f"{address} accepted the call")
