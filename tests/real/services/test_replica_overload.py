"""A replica with more calls than slots: queueing, cancelled calls, and health checks."""

import time
from collections import Counter
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from replica_process import Server, StartReplica

from services.lab_control_pb2 import Behaviour, GetIdentityRequest, SetServingRequest
from services.video_service_pb2 import GetVideoRequest, Video

MS = 1_000_000


def send(server: Server, number: int, timeout_s: float = 10) -> Any:
    """Start one call and do not wait for its end."""
    video = Video(id=str(number), title="Sample Video")
    metadata = (("x-lab-request-id", str(number)),)
    return server.videos.AddVideo.future(video, metadata=metadata, timeout=timeout_s)


def wait_for_calls(server: Server, count: int) -> None:
    """Wait until `count` calls have arrived at the replica."""
    for _ in range(1000):
        if server.control.GetIdentity(GetIdentityRequest(), timeout=5).calls_started >= count:
            return
        time.sleep(0.005)
    pytest.fail(f"the replica did not take in {count} calls")


@pytest.mark.alone
def test_a_burst_is_served_slot_by_slot_in_the_order_it_came(start_replica: StartReplica) -> None:
    server = start_replica("--service-time", "constant:60", "--slots", "2")
    futures = [send(server, number) for number in range(8)]
    for future in futures:
        future.result()
    rows = server.ledger()
    by_arrival = sorted(rows, key=lambda row: int(row["arrived_ns"]))
    queue_ms = [int(row["queue_ns"]) / MS for row in by_arrival]
    assert queue_ms[1] < 40
    assert queue_ms[7] >= 140
    done_ns = [int(row["done_ns"]) for row in by_arrival]
    assert all(done_ns[place] < done_ns[place + 2] for place in range(6))
    assert [int(row["in_flight"]) for row in by_arrival] == list(range(1, 9))


def test_health_answers_while_calls_wait_in_line(start_replica: StartReplica) -> None:
    server = start_replica("--service-time", "constant:60000", "--slots", "2")
    futures = [send(server, number) for number in range(202)]
    wait_for_calls(server, 202)
    with grpc.insecure_channel(server.address) as channel:
        for service in ("", "video_service.VideoService"):
            request = health_pb2.HealthCheckRequest(service=service)
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=2)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
    for future in futures:
        future.cancel()
    rows = server.rows_within(202)
    assert {row["code"] for row in rows} == {"CANCELLED"}
    assert sorted(int(row["request_id"]) for row in rows) == list(range(202))


def test_health_answers_while_the_cpu_burns(start_replica: StartReplica) -> None:
    burning = {"distribution": "constant", "mean": 300, "burn_cpu": True}
    server = start_replica("--slots", "4", service_time_ms=burning)
    futures = [send(server, number) for number in range(8)]
    wait_for_calls(server, 8)
    with grpc.insecure_channel(server.address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert not all(future.done() for future in futures)
    for future in futures:
        future.cancel()


# A caller resets the stream at its deadline. The replica may see the reset before its own timer fires.
@pytest.mark.parametrize(
    ("give_up", "codes"), [("cancel", {"CANCELLED"}), ("deadline", {"DEADLINE_EXCEEDED", "CANCELLED"})]
)
def test_a_cancelled_call_leaves_the_queue_or_its_slot(
    start_replica: StartReplica, give_up: str, codes: set[str]
) -> None:
    server = start_replica("--service-time", "constant:60000", "--slots", "1")
    at_work = send(server, 0)
    wait_for_calls(server, 1)
    in_line = [send(server, number, 10 if give_up == "cancel" else 1) for number in (1, 2)]
    wait_for_calls(server, 3)
    if give_up == "cancel":
        for future in in_line:
            future.cancel()
    rows = server.rows_within(2)
    assert {row["code"] for row in rows} <= codes
    assert [(row["messages"], row["service_ns"]) for row in rows] == [("0", "0")] * 2
    assert all(int(row["queue_ns"]) > 0 for row in rows)
    at_work.cancel()
    row = server.rows_within(3)[2]
    assert (row["request_id"], row["code"]) == ("0", "CANCELLED")
    assert int(row["service_ns"]) > 0
    server.control.SetBehaviour(Behaviour(mean_ms=0))
    assert send(server, 99).result().video.id == "99"
    assert server.control.GetIdentity(GetIdentityRequest()).calls_done == 4


@pytest.mark.parametrize("method", ["GetVideo", "GetVideos"])
def test_a_stream_that_its_caller_leaves_open_and_cancels_is_cancelled_in_the_ledger(
    server: Server, method: str
) -> None:
    call: Any = None

    def left_open() -> Any:
        yield GetVideoRequest(id="sample-0")
        while call is None or call.is_active():
            time.sleep(0.01)

    if method == "GetVideo":
        call = server.videos.GetVideo(left_open(), timeout=5)
        assert next(call).id == "sample-0"
    else:
        call = server.videos.GetVideos.future(left_open(), timeout=5)
    wait_for_calls(server, 1)
    call.cancel()
    (row,) = server.rows_within(1)
    assert (row["method"], row["code"]) == (method, "CANCELLED")


@pytest.mark.alone
def test_more_slots_serve_the_queue(start_replica: StartReplica) -> None:
    server = start_replica("--service-time", "constant:300", "--slots", "1")
    futures = [send(server, number) for number in range(6)]
    wait_for_calls(server, 6)
    server.control.SetBehaviour(Behaviour(slots=6))
    for future in futures:
        future.result()
    assert all(int(row["queue_ns"]) < 290 * MS for row in server.ledger())


def test_set_serving_changes_health_and_notifies_watchers(server: Server) -> None:
    answers = health_pb2.HealthCheckResponse
    stub = health_pb2_grpc.HealthStub(server.channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="video_service.VideoService"), timeout=5)
    assert next(watch).status == answers.SERVING
    for serving, status in ((False, answers.NOT_SERVING), (True, answers.SERVING)):
        server.control.SetServing(SetServingRequest(serving=serving))
        assert next(watch).status == status
        assert stub.Check(health_pb2.HealthCheckRequest()).status == status
        assert server.control.GetIdentity(GetIdentityRequest()).serving is serving
    watch.cancel()
    with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        stub.Check(health_pb2.HealthCheckRequest(service="video_service.Nothing"))


def codes_of(futures: list[Any]) -> list[str]:
    return [future.code().name for future in futures]


def test_a_bounded_queue_refuses_at_once_what_does_not_fit(start_replica: StartReplica) -> None:
    server = start_replica("--service-time", "constant:60000", "--slots", "2", shedding={"max_queue": 3})
    futures = [send(server, number) for number in range(12)]
    rows = server.rows_within(7)
    assert [(row["code"], row["queue_ns"], row["service_ns"]) for row in rows] == [
        ("RESOURCE_EXHAUSTED", "0", "0")
    ] * 7
    while sum(future.done() for future in futures) < 7:
        time.sleep(0.01)
    refused = [future for future in futures if future.done()]
    assert {future.details() for future in refused} == {"refused: 3 calls wait, and no more may"}
    for future in futures:
        future.cancel()
    assert Counter(codes_of(futures)) == {"RESOURCE_EXHAUSTED": 7, "CANCELLED": 5}


@pytest.mark.alone
def test_a_deadline_aware_replica_takes_what_it_can_answer_in_time(start_replica: StartReplica) -> None:
    server = start_replica(
        "--service-time", "constant:300", "--slots", "1", shedding={"deadline_aware": True}
    )
    send(server, 0).result()  # from it the replica learns its service time
    futures = [send(server, number, 1.1) for number in range(1, 9)]
    # The third answer is there after 0.9 s, the fourth one after 1.2 s.
    assert codes_of(futures) == ["OK"] * 3 + ["RESOURCE_EXHAUSTED"] * 5
