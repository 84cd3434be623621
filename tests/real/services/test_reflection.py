"""Server reflection of real replicas: both versions, asyncio and threads, every symbol of every service."""

from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2 as pb
from replica_process import Server, StartReplica

from services.video_service_pb2 import GetVideoRequest

VERSIONS = ["v1", "v1alpha"]
OF_EACH = {
    "grpc.health.v1.Health",
    *(f"grpc.reflection.{version}.ServerReflection" for version in VERSIONS),
    "video_service.VideoService",
}
# LabControl of a server with threads has a port of its own.
SERVICES = {"asyncio": OF_EACH | {"video_service.LabControl"}, "threads": OF_EACH}


@pytest.fixture(params=SERVICES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(kind: str, start_replica: StartReplica) -> Server:
    return start_replica("--slots", "1", server=kind)


def stream(server: Server, version: str, requests: Iterator[pb.ServerReflectionRequest]) -> Any:
    """Open a stream of reflection. The messages of both versions have the same fields."""
    call = server.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        pb.ServerReflectionRequest.SerializeToString,
        pb.ServerReflectionResponse.FromString,
    )
    return call(requests, timeout=10)


def ask(server: Server, version: str, **request: Any) -> pb.ServerReflectionResponse:
    (answer,) = stream(server, version, iter([pb.ServerReflectionRequest(**request)]))
    return answer


def listed(server: Server, version: str) -> set[str]:
    answer = ask(server, version, list_services="").list_services_response
    return {service.name for service in answer.service}


def files_with(server: Server, version: str, symbol: str) -> DescriptorPool:
    """Return a pool with the files that the server sends for the symbol."""
    answer = ask(server, version, file_containing_symbol=symbol)
    assert answer.WhichOneof("message_response") == "file_descriptor_response", answer
    pool = DescriptorPool()
    for file in answer.file_descriptor_response.file_descriptor_proto:
        pool.AddSerializedFile(file)
    return pool


@pytest.mark.parametrize("version", VERSIONS)
def test_every_service_method_and_message_is_found(server: Server, kind: str, version: str) -> None:
    assert listed(server, version) == SERVICES[kind]
    for name in SERVICES[kind]:
        service = files_with(server, version, name).FindServiceByName(name)
        for method in service.methods:
            assert files_with(server, version, method.full_name).FindMethodByName(method.full_name)
            for message in (method.input_type.full_name, method.output_type.full_name):
                assert files_with(server, version, message).FindMessageTypeByName(message)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "request_of",
    [
        *(
            {"file_containing_symbol": symbol}
            for symbol in ("video_service.VideoService.Nothing", "video_service.Nothing.AddVideo", "", ".")
        ),
        {"file_by_filename": "nothing.proto"},
        {"all_extension_numbers_of_type": "video_service.Nothing"},
        {"file_containing_extension": {"containing_type": "video_service.Video", "extension_number": 1}},
    ],
)
def test_what_does_not_exist_is_not_found(server: Server, version: str, request_of: dict[str, Any]) -> None:
    error = ask(server, version, **request_of).error_response
    assert error.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def test_files_are_found_by_their_name(server: Server) -> None:
    for version in VERSIONS:
        for name in ("services/video_service.proto", f"grpc_reflection/{version}/reflection.proto"):
            answer = ask(server, version, file_by_filename=name)
            assert len(answer.file_descriptor_response.file_descriptor_proto) == 1, name


def test_an_open_stream_takes_no_thread_from_the_calls(server: Server) -> None:
    """grpcurl and ghz keep their stream open while they call."""
    requests: SimpleQueue[pb.ServerReflectionRequest | None] = SimpleQueue()
    opened = stream(server, "v1", iter(requests.get, None))
    requests.put(pb.ServerReflectionRequest(list_services=""))
    assert next(opened).HasField("list_services_response")
    answer = server.videos.GetVideos(iter([GetVideoRequest(id="sample-1")]), timeout=10)
    assert [video.id for video in answer.videos] == ["sample-1"]
    requests.put(None)
    assert list(opened) == []
