"""The four calls over a real connection: answers, errors and metadata agree with the ledger."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from replica_process import Server, StartReplica

from services.lab_control_pb2 import Behaviour
from services.video_service_pb2 import GetVideoRequest, ListVideosRequest, Video

VIDEO = Video(id="2", title="Sample Video", author="John Doe", url="https://example.com/a.mp4", duration=120)
REQUEST_ID = 3_000_000_017
METADATA = (("x-lab-request-id", str(REQUEST_ID)),)
NUMBERS = ("queue_ns", "service_ns", "in_flight")


def ids(*texts: str) -> Iterator[GetVideoRequest]:
    return iter([GetVideoRequest(id=text) for text in texts])


def add(server: Server) -> tuple[Any, Any]:
    return server.videos.AddVideo.with_call(VIDEO, metadata=METADATA)


def list_newest(server: Server) -> tuple[Any, Any]:
    call = server.videos.ListVideos(ListVideosRequest(limit=3), metadata=METADATA)
    return list(call), call


def get_some(server: Server) -> tuple[Any, Any]:
    return server.videos.GetVideos.with_call(ids("sample-1", "nope", "sample-0"), metadata=METADATA)


def ping_pong(server: Server) -> tuple[Any, Any]:
    call = server.videos.GetVideo(ids("sample-1", "sample-0"), metadata=METADATA)
    return list(call), call


def test_add_video(server: Server) -> None:
    answer, _ = add(server)
    expected = Video(served_by="replica-0")
    expected.MergeFrom(VIDEO)
    assert answer.video == expected


def test_list_videos(server: Server) -> None:
    add(server)
    assert [video.id for video in list_newest(server)[0]] == ["2", "sample-0", "sample-1"]
    assert len(list(server.videos.ListVideos(ListVideosRequest()))) == 11


def test_a_stream_of_videos_can_have_any_length(server: Server) -> None:
    add(server)
    expected = ["2", *(f"sample-{number}" for number in range(10))]
    videos = list(server.videos.ListVideos(ListVideosRequest(limit=25, cycle=True)))
    assert [video.id for video in videos] == [*expected, *expected, *expected[:3]]
    videos = list(server.videos.ListVideos(ListVideosRequest(limit=3, cycle=True)))
    assert [video.id for video in videos] == expected[:3]
    assert [row["messages"] for row in server.ledger()] == ["1", "25", "3"]


def test_messages_of_a_paced_stream_are_never_early_and_take_no_slot(start_replica: StartReplica) -> None:
    server = start_replica("--slots", "1")
    begun_s = time.monotonic()
    call = server.videos.ListVideos(ListVideosRequest(limit=5, cycle=True, gap_ms=30))
    arrived_s = []
    for video in call:
        arrived_s.append(time.monotonic() - begun_s)
        server.videos.AddVideo(Video(id=f"{video.id}-seen", title="t"), timeout=5)
    # The replica paces from its first message, which it sends after the start of the call.
    assert all(at_s >= number * 0.030 - 0.002 for number, at_s in enumerate(arrived_s))
    assert [row["code"] for row in server.ledger()] == ["OK"] * 6


def test_get_videos(server: Server) -> None:
    answer, _ = get_some(server)
    assert [video.id for video in answer.videos] == ["sample-1", "sample-0"]
    assert list(answer.unknown_ids) == ["nope"]


def test_get_video_answers_each_id_before_the_next_one_is_sent(server: Server) -> None:
    answered: list[str] = []
    call: Any = None

    def one_at_a_time() -> Iterator[GetVideoRequest]:
        for number in range(4):
            assert len(answered) == number
            yield GetVideoRequest(id=f"sample-{number}")
            while len(answered) <= number and (call is None or call.is_active()):
                time.sleep(0.001)

    call = server.videos.GetVideo(one_at_a_time(), timeout=5)
    for video in call:
        answered.append(video.id)
    assert answered == [f"sample-{number}" for number in range(4)]


@pytest.mark.parametrize(
    ("method", "call_it", "messages"),
    [
        ("AddVideo", add, 1),
        ("ListVideos", list_newest, 3),
        ("GetVideos", get_some, 1),
        ("GetVideo", ping_pong, 2),
    ],
)
def test_an_answer_names_its_replica_and_the_ledger_says_the_same(
    start_replica: StartReplica, method: str, call_it: Callable[[Server], tuple[Any, Any]], messages: int
) -> None:
    server = start_replica("--service-time", "constant:5")
    _, call = call_it(server)
    initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
    assert initial["x-lab-replica"] == trailing["x-lab-replica"] == "replica-0"
    (row,) = server.ledger()
    assert (row["method"], row["code"], row["request_id"]) == (method, "OK", str(REQUEST_ID))
    assert row["messages"] == str(messages)
    assert row["peer"] == initial["x-lab-connection"]
    assert row["peer"].startswith("127.0.0.1:")
    for name in NUMBERS:
        assert row[name] == trailing[f"x-lab-{name.replace('_', '-')}"]
    works = 2 if method == "GetVideo" else 1
    assert works * 4_000_000 <= int(row["service_ns"]) <= int(row["done_ns"]) - int(row["arrived_ns"])
    assert row["in_flight"] == "1"


def test_every_message_names_the_replica_that_sent_it(server: Server) -> None:
    forged = Video(id="forged", title="t", served_by="somebody")
    sent = [server.videos.AddVideo(forged).video]
    sent += server.videos.ListVideos(ListVideosRequest())
    sent += server.videos.GetVideos(ids("forged", "sample-1")).videos
    sent += server.videos.GetVideo(ids("forged", "sample-1"))
    assert len(sent) == 1 + 11 + 2 + 2
    assert {video.served_by for video in sent} == {"replica-0"}


REFUSALS: list[tuple[Callable[[Server], Any], grpc.StatusCode, str]] = [
    (
        lambda server: server.videos.AddVideo(Video(id="sample-4", title="t"), metadata=METADATA),
        grpc.StatusCode.ALREADY_EXISTS,
        "video 'sample-4' exists already",
    ),
    (
        lambda server: server.videos.AddVideo(Video(id="7"), metadata=METADATA),
        grpc.StatusCode.INVALID_ARGUMENT,
        "video '7': title is empty, expected some text",
    ),
    (
        lambda server: list(server.videos.GetVideo(ids("nope"), metadata=METADATA)),
        grpc.StatusCode.NOT_FOUND,
        "no video with id 'nope' here",
    ),
    (
        lambda server: server.videos.GetVideos(ids(*map(str, range(1001))), metadata=METADATA),
        grpc.StatusCode.INVALID_ARGUMENT,
        "more than 1000 ids in one call",
    ),
    (
        lambda server: list(server.videos.ListVideos(ListVideosRequest(cycle=True), metadata=METADATA)),
        grpc.StatusCode.INVALID_ARGUMENT,
        "limit is 0, expected 1 to 100000 with cycle",
    ),
    (
        lambda server: list(
            server.videos.ListVideos(ListVideosRequest(limit=100_001, cycle=True), metadata=METADATA)
        ),
        grpc.StatusCode.INVALID_ARGUMENT,
        "limit is 100001, expected 1 to 100000 with cycle",
    ),
    (
        lambda server: list(server.videos.ListVideos(ListVideosRequest(gap_ms=60_001), metadata=METADATA)),
        grpc.StatusCode.INVALID_ARGUMENT,
        "gap_ms is 60001, expected at most 60000",
    ),
]


@pytest.mark.parametrize(("call_it", "code", "message"), REFUSALS)
def test_a_refusal_is_trailers_only_and_names_the_replica(
    server: Server, call_it: Callable[[Server], Any], code: grpc.StatusCode, message: str
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        call_it(server)
    error: Any = refused.value
    assert (error.code(), error.details()) == (code, message)
    assert not error.initial_metadata()
    trailing = dict(error.trailing_metadata())
    assert trailing["x-lab-replica"] == "replica-0"
    (row,) = server.ledger()
    assert (row["code"], row["messages"], row["request_id"]) == (code.name, "0", str(REQUEST_ID))
    assert all(row[name] == trailing[f"x-lab-{name.replace('_', '-')}"] for name in NUMBERS)


def test_an_unknown_id_ends_a_bidirectional_stream(server: Server) -> None:
    call = server.videos.GetVideo(ids("sample-0", "nope", "sample-1"))
    assert next(call).id == "sample-0"
    with pytest.raises(grpc.RpcError):
        next(call)
    assert call.code() is grpc.StatusCode.NOT_FOUND
    (row,) = server.ledger()
    assert (row["code"], row["messages"], row["request_id"]) == ("NOT_FOUND", "1", "-1")


@pytest.mark.parametrize("call_it", [add, list_newest, get_some, ping_pong])
def test_calls_that_fail_on_purpose_take_no_slot(
    server: Server, call_it: Callable[[Server], tuple[Any, Any]]
) -> None:
    server.control.SetBehaviour(Behaviour(fail_share=1, fail_code="RESOURCE_EXHAUSTED", mean_ms=500))
    with pytest.raises(grpc.RpcError) as failed:
        call_it(server)
    error: Any = failed.value
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not error.initial_metadata()
    (row,) = server.ledger()
    assert (row["code"], row["queue_ns"], row["service_ns"]) == ("RESOURCE_EXHAUSTED", "0", "0")


def test_an_empty_bidirectional_stream_names_the_replica(server: Server) -> None:
    call = server.videos.GetVideo(ids())
    assert list(call) == []
    assert dict(call.initial_metadata())["x-lab-replica"] == "replica-0"
