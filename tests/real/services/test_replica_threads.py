"""Replicas with a thread for each slot: the same answers; health checks that wait for a thread, or do not."""

import time
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from replica_process import Server, StartReplica, document, run_replica

from services.lab_control_pb2 import Behaviour, GetIdentityRequest, SetServingRequest
from services.video_service_pb2 import GetVideoRequest, ListVideosRequest, Video

POOLS = ["threads", "threads_own_health"]


def check(server: Server, timeout_s: float) -> "health_pb2.HealthCheckResponse":
    stub = health_pb2_grpc.HealthStub(server.channel)
    request = health_pb2.HealthCheckRequest(service="video_service.VideoService")
    return stub.Check(request, timeout=timeout_s)


@pytest.mark.parametrize("pool", POOLS)
def test_all_four_calls_are_answered_and_recorded(start_replica: StartReplica, pool: str) -> None:
    server = start_replica("--service-time", "constant:1", "--slots", "3", server=pool)
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
    server = start_replica("--service-time", "constant:1", server=kind)
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
        server = start_replica("--slots", "2", "--service-time", "constant:1500", server=pool)
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


def test_its_health_service_answers_as_set(start_replica: StartReplica) -> None:
    server = start_replica(server="threads")
    assert server.control.GetIdentity(GetIdentityRequest()).server == "threads"
    server.control.SetServing(SetServingRequest(serving=False))
    assert check(server, 5).status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_watches_that_end_while_the_answer_changes_cause_no_deadlock(start_replica: StartReplica) -> None:
    server = start_replica("--slots", "4", server="threads")
    stub = health_pb2_grpc.HealthStub(server.channel)
    for turn in range(150):
        watches = [stub.Watch(health_pb2.HealthCheckRequest(), timeout=10) for _ in range(6)]
        for watch in watches:
            next(watch)
        changed = server.control.SetServing.future(SetServingRequest(serving=turn % 2 == 1), timeout=5)
        for watch in watches:
            watch.cancel()
        assert changed.exception() is None, f"turn {turn}"
    assert check(server, 5).status == health_pb2.HealthCheckResponse.SERVING


def test_many_streams_make_progress_at_the_same_time(start_replica: StartReplica) -> None:
    server = start_replica("--slots", "40", server="threads")
    asked: list[SimpleQueue[GetVideoRequest | None]] = [SimpleQueue() for _ in range(40)]
    streams = [server.videos.GetVideo(iter(queue.get, None), timeout=10) for queue in asked]
    for queue, stream in reversed(list(zip(asked, streams, strict=True))):
        for number in (1, 2):
            queue.put(GetVideoRequest(id=f"sample-{number}"))
            assert next(stream).id == f"sample-{number}"  # while the other streams wait for their callers
    for queue in asked:
        queue.put(None)
    assert [list(stream) for stream in streams] == [[]] * 40
    assert {(row["messages"], row["code"]) for row in server.ledger()} == {("2", "OK")}


@pytest.mark.parametrize("code", ["DEADLINE_EXCEEDED", "CANCELLED"])
def test_a_cancelled_call_is_worked_on_to_its_end_and_recorded(
    start_replica: StartReplica, code: str
) -> None:
    server = start_replica("--service-time", "constant:1500", server="threads")
    call = server.videos.AddVideo.future(Video(id="v", title="t"), timeout=0.7 if code[0] == "D" else 10)
    while server.control.GetIdentity(GetIdentityRequest()).calls_started < 1:
        time.sleep(0.005)
    call.cancel() if code == "CANCELLED" else call.exception()
    (row,) = server.rows_within(1)
    assert row["code"] == code
    assert int(row["service_ns"]) >= 1_490_000_000
    server.process.terminate()
    assert server.process.communicate(timeout=10)[1] == ""


def test_a_cancelled_stream_of_answers_ends(start_replica: StartReplica) -> None:
    server = start_replica("--slots", "1", server="threads")
    stream = server.videos.ListVideos(ListVideosRequest(limit=100_000, cycle=True, gap_ms=1))
    next(stream)
    stream.cancel()
    (row,) = server.rows_within(1)
    assert row["code"] == "CANCELLED"
    assert int(row["messages"]) < 2000
    server.videos.AddVideo(Video(id="v", title="t"), timeout=5)  # the only thread is free again


@pytest.mark.parametrize("method", ["GetVideo", "GetVideos"])
def test_a_cancelled_stream_of_requests_is_recorded_as_cancelled(
    start_replica: StartReplica, method: str
) -> None:
    server = start_replica("--slots", "1", "--service-time", "constant:10", server="threads")
    requests: SimpleQueue[GetVideoRequest | None] = SimpleQueue()
    requests.put(GetVideoRequest(id="sample-1"))
    asked = iter(requests.get, None)
    call = server.videos.GetVideo(asked) if method == "GetVideo" else server.videos.GetVideos.future(asked)
    while server.control.GetIdentity(GetIdentityRequest()).calls_started < 1:
        time.sleep(0.005)
    time.sleep(0.1)  # the handler has read all requests and waits for more
    call.cancel()
    (row,) = server.rows_within(1)
    assert row["code"] == "CANCELLED"
    requests.put(None)
    server.videos.AddVideo(Video(id="v", title="t"), timeout=5)


def test_a_stream_goes_no_faster_than_it_is_read_and_lab_control_answers(start_replica: StartReplica) -> None:
    server = start_replica("--slots", "2", server="threads")
    stream = server.videos.ListVideos(ListVideosRequest(limit=100_000, cycle=True))
    next(stream)
    time.sleep(0.3)  # nobody reads, so the stream fills HTTP/2's windows and stops
    assert server.control.GetIdentity(GetIdentityRequest(), timeout=1).calls_done == 0
    stream.cancel()
    (row,) = server.rows_within(1)
    assert int(row["messages"]) < 100_000


@pytest.mark.parametrize(
    ("settings", "behaviour", "message"),
    [
        (
            {"outage": {"every_s": 5, "for_ms": 300}},
            Behaviour(outage_every_s=5, outage_for_ms=300),
            "server: 'threads' has no outage; expected 'asyncio'",
        ),
        (
            {"cache": {"sessions": 5, "hit_factor": 0.5}},
            Behaviour(cache_sessions=5, cache_hit_factor=0.5),
            "server: 'threads' has no cache; expected 'asyncio'",
        ),
        ({"orca": 0.5}, Behaviour(orca="0.5"), "server: 'threads' has no orca; expected 'asyncio'"),
        ({}, Behaviour(slots=9), "slots is 9, expected 2: the threads that it started with"),
    ],
)
def test_what_threads_cannot_do_is_refused(
    start_replica: StartReplica, settings: dict[str, Any], behaviour: Behaviour, message: str
) -> None:
    server = start_replica(server="threads")
    before = server.control.GetIdentity(GetIdentityRequest()).behaviour
    with pytest.raises(grpc.RpcError, match=message) as caught:
        server.control.SetBehaviour(behaviour)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert server.control.GetIdentity(GetIdentityRequest()).behaviour == before
    if settings:
        ended = run_replica("--settings", document(server="threads", **settings))
        assert ended.returncode == 2
        assert ended.stderr.startswith(f"replica: {message}")
        assert ended.stderr.count("\n") == 1


def test_a_stop_lets_open_calls_finish_in_threads(start_replica: StartReplica) -> None:
    server = start_replica("--service-time", "constant:400", "--grace-s", "3", server="threads")
    with ThreadPoolExecutor(1) as caller:
        call = caller.submit(server.videos.AddVideo, Video(id="y", title="T", url="u", duration=1))
        while server.control.GetIdentity(GetIdentityRequest()).calls_started < 1:
            time.sleep(0.01)
        server.process.terminate()
        assert call.result().video.id == "y"
    assert server.process.wait(10) == 0
    assert [row["code"] for row in server.ledger()] == ["OK"]
