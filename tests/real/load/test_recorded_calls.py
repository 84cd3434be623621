"""What a recorded stub writes down of each kind of call, against the replica's own ledger."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
from clients import SETTINGS
from replica_process import Server, StartReplica

from lb.channel import open_channel
from lb.rows import MESSAGE_COLUMNS, REQUEST_IDS_PER_CLIENT
from load.recorded_calls import EndedCall, RecordedCalls
from services import video_service_pb2 as pb
from services.video_service_pb2_grpc import VideoServiceStub


class Log(list[EndedCall]):
    """A CallLog that keeps all calls."""

    begun = 0

    def begin(self, client: int) -> int:
        self.begun += 1
        return self.begun - 1

    def end(self, call: EndedCall) -> None:
        self.append(call)


@pytest.fixture
def log() -> Log:
    return Log()


def stub_of(server: Server, log: Log, deadline_s: float = 5) -> Any:
    settings = replace(
        SETTINGS,
        target=server.address,
        service_config=None,
        deadline_s=deadline_s,
        epoch_ns=time.monotonic_ns(),
    )
    channel = open_channel(settings, grpc)
    return VideoServiceStub(grpc.intercept_channel(channel, RecordedCalls(7, settings, log)))


@pytest.fixture
def stub(server: Server, log: Log) -> Iterator[Any]:
    yield stub_of(server, log)


def ids(count: int) -> Iterator[pb.GetVideoRequest]:
    return (pb.GetVideoRequest(id=f"sample-{number}") for number in range(count))


def messages(call: EndedCall) -> list[dict[str, Any]]:
    return [dict(zip(MESSAGE_COLUMNS, row, strict=True)) for row in call.messages]


def test_each_kind_of_call_has_the_row_that_the_replica_wrote(server: Server, stub: Any, log: Log) -> None:
    stub.AddVideo(pb.Video(id="mine", title="t", author="a", url="https://example.com/v", duration=1))
    stub.AddVideo.future(
        pb.Video(id="two", title="t", author="a", url="https://example.com/v", duration=1)
    ).result()
    assert len(list(stub.ListVideos(pb.ListVideosRequest(limit=4)))) == 4
    assert len(stub.GetVideos(ids(3)).videos) == 3
    assert [video.id for video in stub.GetVideo(ids(2))] == ["sample-0", "sample-1"]
    deadline_s = time.monotonic() + 5
    while len(log) < 5 and time.monotonic() < deadline_s:
        time.sleep(0.01)  # the callback of a future comes from a thread of gRPC
    calls = sorted(log, key=lambda call: call.row["request_id"])
    theirs = {int(row["request_id"]): row for row in server.rows_within(5)}
    assert [call.row["method"] for call in calls] == [
        "AddVideo",
        "AddVideo",
        "ListVideos",
        "GetVideos",
        "GetVideo",
    ]
    for number, call in enumerate(calls):
        row = call.row
        assert (row["request_id"], row["client"]) == (7 * REQUEST_IDS_PER_CLIENT + number, 7)
        own = theirs.pop(row["request_id"])
        assert (row["code"], row["method"], call.error) == ("OK", own["method"], "")
        assert [row["queue_ns"], row["service_ns"]] == [int(own[name]) for name in ("queue_ns", "service_ns")]
        assert row["planned_ns"] == row["ready_ns"] == row["sent_ns"] <= row["done_ns"]
        assert row["messages"] == (len(call.messages) or 1)
        for place, message in enumerate(messages(call)):
            assert message["message"] == place
            assert row["sent_ns"] <= message["sent_ns"] <= message["received_ns"] <= row["done_ns"]
            assert message["replica"] == row["replica"] == "replica-0"
    assert [len(call.messages) for call in calls] == [0, 0, 4, 3, 2]
    assert not theirs


def test_a_failed_call_raises_and_is_recorded(start_replica: StartReplica, log: Log) -> None:
    server = start_replica(service_time_ms={"distribution": "constant", "mean": 500})
    stub = stub_of(server, log, deadline_s=0.1)
    for call in (
        lambda: stub.GetVideos(ids(1)),
        lambda: list(stub.ListVideos(pb.ListVideosRequest(limit=1))),
    ):
        with pytest.raises(grpc.RpcError):
            call()
    assert [call.row["code"] for call in log] == ["DEADLINE_EXCEEDED"] * 2
    assert all(call.error for call in log)


def test_a_timeout_and_metadata_of_the_users_own_are_kept(start_replica: StartReplica, log: Log) -> None:
    server = start_replica(service_time_ms={"distribution": "constant", "mean": 500})
    with pytest.raises(grpc.RpcError):
        stub_of(server, log).GetVideos(ids(1), timeout=0.05, metadata=(("x-mine", "1"),))
    (call,) = log
    assert 50 <= (call.row["done_ns"] - call.row["sent_ns"]) / 1e6 < 400


@pytest.mark.parametrize("how", ["break", "cancel"])
def test_a_stream_that_is_not_read_to_its_end_is_cancelled_and_recorded(
    how: str, stub: Any, log: Log
) -> None:
    stream = stub.ListVideos(pb.ListVideosRequest(limit=100, cycle=True, gap_ms=20))
    assert next(stream).served_by == "replica-0"
    if how == "cancel":
        assert stream.cancel()
        assert not stream.cancel()
    del stream
    (call,) = log
    assert (call.row["code"], call.row["messages"], call.row["replica"]) == ("CANCELLED", 1, "replica-0")


def test_the_session_sends_its_cookie_back(start_cell: Any, log: Log) -> None:
    live = start_cell("envoy", "sticky")
    settings = replace(SETTINGS, target=live.target, service_config=None, cookie_jar=True, epoch_ns=0)
    stub = VideoServiceStub(
        grpc.intercept_channel(open_channel(settings, grpc), RecordedCalls(0, settings, log))
    )
    for _ in range(9):
        list(stub.GetVideo(ids(1)))
    assert len({call.row["replica"] for call in log}) == 1
