"""Outages of a replica: calls are refused or broken, the replica returns, the ledger has every call."""

import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from replica_process import Server, StartReplica
from tls_calls import make_all_four_calls

from harness.proxy.tls import make_certificate
from services.lab_control_pb2 import Behaviour, GetIdentityRequest
from services.video_service_pb2 import GetVideoRequest, Video

QUICK = [(f"grpc.{name}_reconnect_backoff_ms", 50) for name in ("initial", "min", "max")]
SERVING = health_pb2.HealthCheckResponse.SERVING


def reach(server: Server) -> Server:
    """Open a channel to the same replica that connects again soon."""
    channel = grpc.insecure_channel(server.address, [*QUICK, ("grpc.use_local_subchannel_pool", 1)])
    server.channel.close()
    server.channel = channel
    return server


def add(server: Server, number: int, wait: bool = True) -> str:
    """Make one call and return the name of its status."""
    metadata = (("x-lab-request-id", str(number)),)
    video = Video(id=str(number), title="Sample Video")
    try:
        server.videos.AddVideo(video, metadata=metadata, wait_for_ready=wait, timeout=10)
    except grpc.RpcError as error:
        failed: Any = error
        return str(failed.code().name)
    return "OK"


def wait_for(server: Server, listening: bool, address: str = "") -> None:
    """Wait until a process listens at `address` (default: the server's), or until none does."""
    host, port = (address or server.address).split(":")
    for _ in range(2000):
        with socket.socket() as probe:
            if (probe.connect_ex((host, int(port))) == 0) == listening:
                return
        time.sleep(0.005)
    pytest.fail(f"the replica was never {'back' if listening else 'away'}")


def set_outage(server: Server, every_s: float, for_ms: float) -> None:
    change = Behaviour(outage_every_s=every_s, outage_for_ms=for_ms)
    for _ in range(20):  # an outage may break this call
        try:
            server.control.SetBehaviour(change, wait_for_ready=True, timeout=10)
        except grpc.RpcError as error:
            failed: Any = error
            assert failed.code() is grpc.StatusCode.UNAVAILABLE
        else:
            return
    pytest.fail("the replica was never there for long enough")


def test_a_replica_comes_back_on_its_port_time_and_again(start_replica: StartReplica) -> None:
    server = reach(start_replica(outage={"every_s": 0.4, "for_ms": 150}))
    for _ in range(3):
        wait_for(server, listening=False)
        wait_for(server, listening=True)
    set_outage(server, 0, 0)
    identity = server.control.GetIdentity(GetIdentityRequest(), wait_for_ready=True, timeout=10)
    assert (identity.pid, identity.serving) == (server.process.pid, True)
    with grpc.insecure_channel(server.address) as channel:
        for service in ("", "video_service.VideoService"):
            request = health_pb2.HealthCheckRequest(service=service)
            assert health_pb2_grpc.HealthStub(channel).Check(request, timeout=5).status == SERVING
    assert add(server, 1) == "OK"


def test_during_an_outage_calls_fail_at_once_and_waiting_calls_are_served_later(
    start_replica: StartReplica,
) -> None:
    server = reach(start_replica())
    set_outage(server, 1.6, 1500)
    wait_for(server, listening=False)
    assert [add(server, number, wait=False) for number in range(3)] == ["UNAVAILABLE"] * 3
    assert server.ledger() == []
    assert add(server, 3) == "OK"
    assert [row["request_id"] for row in server.ledger()] == ["3"]


def test_an_outage_breaks_open_calls_and_each_has_a_row(start_replica: StartReplica) -> None:
    server = reach(start_replica("--service-time", "constant:60000", "--slots", "2"))
    futures = []
    for number in range(40):
        metadata = (("x-lab-request-id", str(number)),)
        futures.append(server.videos.AddVideo.future(Video(id="x", title="t"), metadata=metadata))
    stream = server.videos.GetVideo(iter([GetVideoRequest(id="sample-0")]))
    while server.control.GetIdentity(GetIdentityRequest()).calls_started < 41:
        time.sleep(0.005)
    set_outage(server, 0.3, 100)
    for call in (*futures, stream):
        error: Any = call.exception(timeout=10)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "closed" in futures[0].details()
    rows = server.rows_within(41)
    assert Counter(row["code"] for row in rows) == {"CANCELLED": 41}
    assert sorted(int(row["request_id"]) for row in rows) == [-1, *range(40)]


def test_calls_through_many_outages_end_ok_or_unavailable_and_the_ledger_knows_every_answer(
    start_replica: StartReplica,
) -> None:
    server = reach(start_replica("--service-time", "exponential:2", outage={"every_s": 0.25, "for_ms": 80}))
    ends: dict[int, Any] = {}
    futures = {}
    begun_s = time.monotonic()
    while time.monotonic() - begun_s < 2:
        number = len(futures)
        futures[number] = server.videos.AddVideo.future(
            Video(id=str(number), title="t"),
            metadata=(("x-lab-request-id", str(number)),),
            wait_for_ready=True,
            timeout=10,
        )
        time.sleep(0.004)
    for number, future in futures.items():
        ends[number] = future.code().name
    counts = Counter(ends.values())
    assert set(counts) == {"OK", "UNAVAILABLE"}
    assert counts["OK"] > counts["UNAVAILABLE"]
    server.process.terminate()
    server.process.wait(timeout=10)
    rows = server.ledger()
    ids = Counter(int(row["request_id"]) for row in rows)
    assert max(ids.values()) == 1
    served = {int(row["request_id"]) for row in rows if row["code"] == "OK"}
    answered = {number for number, code in ends.items() if code == "OK"}
    assert answered <= served  # an answer may be in the ledger and then be lost on its way


def test_a_health_watch_ends_with_an_outage_and_a_new_one_finds_it_serving(
    start_replica: StartReplica,
) -> None:
    server = reach(start_replica())
    stub = health_pb2_grpc.HealthStub(server.channel)
    request = health_pb2.HealthCheckRequest(service="video_service.VideoService")
    watch = stub.Watch(request)
    assert next(watch).status == SERVING
    set_outage(server, 0.3, 150)
    with pytest.raises(grpc.RpcError):
        next(watch)
    # A watch that begins just as an outage begins is lost with it, so no second outage may follow.
    set_outage(server, 0, 0)
    again = stub.Watch(request, wait_for_ready=True, timeout=10)
    assert next(again).status == SERVING


def test_the_tls_port_goes_and_comes_back_too(start_replica: StartReplica, tmp_path: Path) -> None:
    files = make_certificate(tmp_path / "tls")
    pair = ("--tls-certificate", str(files.certificate), "--tls-key", str(files.key))
    server = reach(
        start_replica("--tls-listen", "127.0.0.1:0", *pair, outage={"every_s": 0.3, "for_ms": 120})
    )
    tls = server.ledger_path.with_name("ready-0.json").read_text().split('"tls_address": "')[1].split('"')[0]
    for number in range(2):
        wait_for(server, listening=False)
        wait_for(server, listening=False, address=tls)
        wait_for(server, listening=True)
        set_outage(server, 0, 0)
        make_all_four_calls(tls, files.authority, f"secret-{number}")
        set_outage(server, 0.3, 120)


def test_the_port_of_a_replica_that_is_away_stays_reserved(start_replica: StartReplica) -> None:
    server = reach(start_replica(outage={"every_s": 0.9, "for_ms": 800}))
    wait_for(server, listening=False)
    host, port = server.address.split(":")
    with socket.socket() as other, pytest.raises(OSError, match="Address already in use"):
        other.bind((host, int(port)))


def test_a_port_taken_during_an_outage_ends_the_replica_with_one_clear_line(
    start_replica: StartReplica,
) -> None:
    server = reach(start_replica(outage={"every_s": 0.9, "for_ms": 800}))
    wait_for(server, listening=False)
    host, port = server.address.split(":")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((host, int(port)))
        other.listen()
        _, err = server.process.communicate(timeout=10)
    assert server.process.returncode == 1
    assert f"replica-0: cannot listen on {server.address}: " in err
    assert "Traceback" not in err


def test_a_replica_that_is_away_can_be_stopped(start_replica: StartReplica) -> None:
    server = reach(start_replica(outage={"every_s": 0.3, "for_ms": 250}))
    wait_for(server, listening=False)
    server.process.terminate()
    _, err = server.process.communicate(timeout=10)
    assert server.process.returncode == 0
    assert "Traceback" not in err
