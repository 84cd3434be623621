"""Replicas with a thread a slot: the same answers, and health checks that wait in line or do not."""

import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from replica_process import Server, StartReplica

from services.video_service_pb2 import (
    Behaviour,
    GetIdentityRequest,
    GetVideoRequest,
    ListVideosRequest,
    SetServingRequest,
    Video,
)

POOLS = ["threads", "threads_own_health"]


def check(server: Server, timeout_s: float) -> "health_pb2.HealthCheckResponse":
    stub = health_pb2_grpc.HealthStub(server.channel)
    request = health_pb2.HealthCheckRequest(service="video_service.VideoService")
    return stub.Check(request, timeout=timeout_s)


@pytest.mark.parametrize("pool", POOLS)
def test_all_four_calls_are_answered_and_written_down(start_replica: StartReplica, pool: str) -> None:
    server = start_replica("--server", pool, "--service-time", "constant:1", "--slots", "3")
    metadata = [("x-lab-request-id", "7")]
    _, call = server.videos.AddVideo.with_call(
        Video(id="v", title="T", url="u", duration=1), metadata=metadata
    )
    assert dict(call.initial_metadata())["x-lab-replica"] == "replica-0"
    trailing = dict(call.trailing_metadata())
    assert trailing["x-lab-replica"] == "replica-0"
    assert int(trailing["x-lab-service-ns"]) >= 1_000_000
    listed = list(server.videos.ListVideos(ListVideosRequest(limit=5, cycle=True, gap_ms=2)))
    assert len(listed) == 5
    ids = [GetVideoRequest(id="sample-1"), GetVideoRequest(id="nope")]
    reply = server.videos.GetVideos(iter(ids))
    assert (reply.videos[0].id, list(reply.unknown_ids)) == ("sample-1", ["nope"])
    answers = [video.id for video in server.videos.GetVideo(iter([ids[0], ids[0]]))]
    assert answers == ["sample-1", "sample-1"]
    rows = server.ledger()
    assert [row["method"] for row in rows] == ["AddVideo", "ListVideos", "GetVideos", "GetVideo"]
    assert rows[0]["request_id"] == "7"
    assert {row["code"] for row in rows} == {"OK"}
    assert [row["messages"] for row in rows] == ["1", "5", "1", "2"]


@pytest.mark.parametrize("kind", ["asyncio", "threads"])
@pytest.mark.parametrize("after_headers", [False, True])
def test_failures_are_trailers_only_unless_they_come_after_headers(
    start_replica: StartReplica, after_headers: bool, kind: str
) -> None:
    server = start_replica("--server", kind, "--service-time", "constant:1")
    server.control.SetBehaviour(
        Behaviour(fail_share=1, fail_code="ABORTED", fail_after_headers=after_headers, fail_after_work=True)
    )
    with pytest.raises(grpc.RpcError) as caught:
        server.videos.AddVideo(Video(id="w", title="T", url="u", duration=1))
    assert caught.value.code() is grpc.StatusCode.ABORTED
    assert ("x-lab-replica" in dict(caught.value.initial_metadata())) is after_headers
    (row,) = server.ledger()
    assert row["code"] == "ABORTED"
    assert int(row["service_ns"]) >= 1_000_000


def test_a_full_pool_starves_health_checks_unless_they_have_their_own(start_replica: StartReplica) -> None:
    for pool, starved in (("threads", True), ("threads_own_health", False)):
        server = start_replica("--server", pool, "--slots", "2", "--service-time", "constant:1500")
        assert check(server, 5).status == health_pb2.HealthCheckResponse.SERVING
        with ThreadPoolExecutor(2) as callers:
            calls = [
                callers.submit(server.videos.AddVideo, Video(id=f"x{n}", title="T", url="u", duration=1))
                for n in range(2)
            ]
            while server.control.GetIdentity(GetIdentityRequest()).calls_started < 2:
                time.sleep(0.01)
            if starved:
                with pytest.raises(grpc.RpcError) as caught:
                    check(server, 0.3)
                assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            else:
                assert check(server, 1).status == health_pb2.HealthCheckResponse.SERVING
            for call in calls:
                call.result()


def test_its_health_service_says_what_it_is_told(start_replica: StartReplica) -> None:
    server = start_replica("--server", "threads")
    assert server.control.GetIdentity(GetIdentityRequest()).server == "threads"
    server.control.SetServing(SetServingRequest(serving=False))
    assert check(server, 5).status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_asked_to_stop_it_lets_the_calls_in_hand_finish(start_replica: StartReplica) -> None:
    server = start_replica("--server", "threads", "--service-time", "constant:400", "--grace-s", "3")
    with ThreadPoolExecutor(1) as caller:
        call = caller.submit(server.videos.AddVideo, Video(id="y", title="T", url="u", duration=1))
        while server.control.GetIdentity(GetIdentityRequest()).calls_started < 1:
            time.sleep(0.01)
        server.process.terminate()
        assert call.result().video.id == "y"
    assert server.process.wait(10) == 0
    assert [row["code"] for row in server.ledger()] == ["OK"]
