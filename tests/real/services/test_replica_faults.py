"""Replicas with slow or failing calls, a session cache, load reports, or a maximum connection age."""

import json
import time
from collections import Counter
from typing import Any

import grpc
import pytest
from replica_process import Server, StartReplica

from services.lab_control_pb2 import Behaviour, GetIdentityRequest
from services.video_service_pb2 import GetVideoRequest, ListVideosRequest, Video

MS = 1_000_000


def add(server: Server, number: int, session: str = "") -> Any:
    """One finished call."""
    metadata = [("x-lab-request-id", str(number))] + ([("x-lab-session", session)] if session else [])
    future = server.videos.AddVideo.future(Video(id=f"v{number}", title="t"), metadata=metadata, timeout=10)
    future.exception()
    return future


def test_a_share_of_the_calls_is_slow(start_replica: StartReplica) -> None:
    server = start_replica("--service-time", "constant:1", slow_factor=30, slow_share=0.3)
    for number in range(120):
        add(server, number)
    slow = sum(int(row["service_ns"]) > 25 * MS for row in server.ledger())
    assert 18 <= slow <= 56  # 36 +- 4 standard deviations


def test_a_slow_stream_is_slow_from_beginning_to_end(start_replica: StartReplica) -> None:
    server = start_replica("--service-time", "constant:1", slow_factor=20, slow_share=0.5)
    for _ in range(24):
        assert len(list(server.videos.GetVideo(iter([GetVideoRequest(id="sample-1")] * 3)))) == 3
    took_ms = [int(row["service_ns"]) / MS for row in server.ledger()]
    assert all(took >= 54 or took < 36 for took in took_ms)
    assert 2 <= sum(took >= 54 for took in took_ms) <= 22


def test_a_share_of_the_calls_fails_from_the_start(start_replica: StartReplica) -> None:
    server = start_replica(fail_share=0.25, fail_code="RESOURCE_EXHAUSTED")
    codes = Counter(add(server, number).code().name for number in range(400))
    assert set(codes) == {"OK", "RESOURCE_EXHAUSTED"}
    assert 65 <= codes["RESOURCE_EXHAUSTED"] <= 135
    assert Counter(row["code"] for row in server.ledger()) == codes


@pytest.mark.parametrize("kind", ["asyncio", "threads"])
@pytest.mark.parametrize("after_headers", [False, True])
@pytest.mark.parametrize("after_work", [False, True])
def test_failures_come_before_or_after_headers_and_work(
    start_replica: StartReplica, after_work: bool, after_headers: bool, kind: str
) -> None:
    when = {"fail_after_headers": after_headers, "fail_after_work": after_work}
    server = start_replica("--service-time", "constant:30", server=kind, fail_share=1, **when)
    ids = [GetVideoRequest(id="sample-1")] * 3
    ended = [
        server.videos.AddVideo.future(Video(id="v", title="t"), timeout=10),
        server.videos.GetVideos.future(iter(ids), timeout=10),
        server.videos.ListVideos(ListVideosRequest(), timeout=10),
        server.videos.GetVideo(iter(ids), timeout=10),
    ]
    for call in ended:
        assert call.code() is grpc.StatusCode.UNAVAILABLE
        # An answer without our initial metadata is trailers-only. Only such answers may be retried.
        assert ("x-lab-replica" in dict(call.initial_metadata())) is after_headers
        assert dict(call.trailing_metadata())["x-lab-replica"] == "replica-0"
    rows = server.ledger()
    assert {row["method"] for row in rows} == {"AddVideo", "GetVideos", "ListVideos", "GetVideo"}
    assert {(row["code"], row["messages"]) for row in rows} == {("UNAVAILABLE", "0")}
    # A sleep corrects the error of the one before, up to a millisecond. Timers count whole milliseconds.
    assert {int(row["service_ns"]) >= 27 * MS for row in rows} == {after_work}


def test_slow_failures_wait_for_a_slot_like_any_call(start_replica: StartReplica) -> None:
    options = ("--service-time", "constant:50", "--slots", "1")
    server = start_replica(*options, fail_share=1, fail_after_work=True)
    calls = [server.videos.AddVideo.future(Video(id=str(n), title="t"), timeout=10) for n in range(3)]
    assert {call.exception().code() for call in calls} == {grpc.StatusCode.UNAVAILABLE}
    waited_ms = sorted(int(row["queue_ns"]) / MS for row in server.ledger())
    assert waited_ms[1] >= 35
    assert waited_ms[2] >= 85


@pytest.mark.alone
def test_a_cached_session_is_served_faster(start_replica: StartReplica) -> None:
    server = start_replica("--service-time", "constant:40", cache={"sessions": 2, "hit_factor": 0.1})
    story = [("0.0", "miss"), ("0.0", "hit"), ("", None), ("1.0", "miss"), ("0.0", "hit"), ("2.0", "miss")]
    story += [("1.0", "miss"), ("2.0", "hit")]
    for number, (session, cached) in enumerate(story):
        call = add(server, number, session)
        assert dict(call.trailing_metadata()).get("x-lab-cache") == cached, number
    took_ms = [int(row["service_ns"]) / MS for row in server.ledger()]
    assert [took < 30 for took in took_ms] == [cached == "hit" for _, cached in story]


def test_without_a_cache_there_is_no_cache_metadata(server: Server) -> None:
    assert "x-lab-cache" not in dict(add(server, 0, "0.0").trailing_metadata())


def weighted_channel(servers: list[Server]) -> grpc.Channel:
    """Open a channel that balances by the replicas' load reports (gRFC A58)."""
    policy = {"weighted_round_robin": {"blackoutPeriod": "0s", "weightUpdatePeriod": "0.1s"}}
    options = [("grpc.service_config", json.dumps({"loadBalancingConfig": [policy]}))]
    addresses = ",".join(server.address for server in servers)
    return grpc.insecure_channel(f"ipv4:{addresses}", [*options, ("grpc.use_local_subchannel_pool", 1)])


def shares(servers: list[Server], warm_up: int, counted: int) -> list[float]:
    """Return the replicas' shares of the calls of four callers, after the first reports."""
    before = [0] * len(servers)
    with weighted_channel(servers) as channel:
        call = channel.unary_unary(
            "/video_service.VideoService/AddVideo", Video.SerializeToString, lambda answer: answer
        )
        number, begun_s = 0, time.monotonic()
        flights: list[Any] = []
        while number < warm_up + counted or time.monotonic() - begun_s < 0.5:
            if number == warm_up:
                for flight in flights:
                    flight.exception()
                before = [len(server.ledger()) for server in servers]
            if len(flights) >= 4:
                flights.pop(0).exception()
            flights.append(call.future(Video(id=f"w{number}", title="t"), timeout=10))
            number += 1
        for flight in flights:
            flight.exception()
    counts = [len(server.ledger()) - past for server, past in zip(servers, before, strict=True)]
    return [count / sum(counts) for count in counts]


def test_balancers_follow_fixed_load_reports(start_replica: StartReplica) -> None:
    servers = [start_replica(orca=0.2), start_replica(orca=0.8)]
    assert shares(servers, 600, 1000) == pytest.approx([0.8, 0.2], abs=0.02)


@pytest.mark.alone
def test_balancers_find_the_capacity_by_measured_load_reports(start_replica: StartReplica) -> None:
    # 4 slots of 4 ms and 1 slot of 8 ms serve 1000 and 125 calls/s.
    large = start_replica("--service-time", "constant:4", "--slots", "4", orca="measured")
    small = start_replica("--service-time", "constant:8", "--slots", "1", orca="measured")
    share_of_large, _ = shares([large, small], 800, 800)
    assert 0.84 <= share_of_large <= 0.93  # 8/9; equal shares without reports


@pytest.mark.alone
def test_balancers_avoid_a_replica_that_reports_errors(start_replica: StartReplica) -> None:
    options = ("--service-time", "constant:4")
    sound = start_replica(*options, orca="measured")
    failing = start_replica(*options, orca="measured", fail_share=1)
    # It ends its calls at once. If its reports did not include the errors, it would get nearly all calls.
    assert shares([sound, failing], 400, 400)[1] < 0.6


def test_connections_end_at_their_maximum_age_and_open_calls_finish(start_replica: StartReplica) -> None:
    server = start_replica("--service-time", "constant:700", max_connection_age_ms=200)
    long = server.videos.AddVideo.future(Video(id="long", title="t"), timeout=10)
    while server.control.GetIdentity(GetIdentityRequest()).calls_started < 1:
        time.sleep(0.005)
    server.control.SetBehaviour(Behaviour(mean_ms=0))
    connections, begun_s = set(), time.monotonic()
    number = 0
    while time.monotonic() - begun_s < 1.2:
        call = add(server, number)
        assert call.code() is grpc.StatusCode.OK
        connections.add(dict(call.initial_metadata())["x-lab-connection"])
        number += 1
        time.sleep(0.01)
    assert len(connections) >= 3
    assert long.result().video.id == "long"


def test_connections_stay_without_a_maximum_age(server: Server) -> None:
    seen = set()
    for number in range(20):
        seen.add(dict(add(server, number).initial_metadata())["x-lab-connection"])
        time.sleep(0.02)
    assert len(seen) == 1
