"""A replica that starts again on its port, and a replica that is stopped under load."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from replica_process import Server, StartReplica, start_server

from harness.testbed.local.fleet import ReservedPorts
from services.lab_control_pb2 import GetIdentityRequest, GetLedgerRequest
from services.ledger import COLUMNS
from services.video_service_pb2 import Video

SERVERS = ["asyncio", "threads", "threads_own_health"]


def add(server: Server, number: int) -> "grpc.Future[object]":
    metadata = (("x-lab-request-id", str(number)),)
    return server.videos.AddVideo.future(Video(id=f"v{number}", title="t"), metadata=metadata, timeout=10)


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_it_starts_again_on_a_reserved_port_and_continues_its_ledger(
    tmp_path: Path, end: signal.Signals, kind: str
) -> None:
    ports, asked = ReservedPorts(), []
    try:
        address = ports.reserve("127.0.0.1")
        for life in range(3):
            (tmp_path / "ready-0.json").unlink(missing_ok=True)
            server = start_server(tmp_path, 0, "--listen", address, server=kind)
            assert server.address == address
            for number in range(life * 10, life * 10 + 10):
                add(server, number).result()
                asked.append(number)
            assert [row.request_id for row in server.control.GetLedger(GetLedgerRequest())] == asked
            server.process.send_signal(end)
            _, err = server.process.communicate(timeout=10)
            assert err == ""
            server.channel.close()
            if server.control_channel:
                server.control_channel.close()
            with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary("/x/y")(b"", timeout=5)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        server.process.kill()
        server.process.communicate()
        ports.close()
    assert [int(row["request_id"]) for row in server.ledger()] == asked


def test_an_incomplete_row_is_removed_at_the_next_start(tmp_path: Path, start_replica: StartReplica) -> None:
    path = tmp_path / "cut_off.csv"
    whole = "7,AddVideo,127.0.0.1:1,1,2,0,0,1,1,OK\n"
    path.write_text(",".join(COLUMNS) + "\n" + whole + "8,AddVi")
    server = start_replica("--ledger", str(path))
    add(server, 9).result()
    assert [row.request_id for row in server.control.GetLedger(GetLedgerRequest())] == [7, 9]


@pytest.mark.alone
@pytest.mark.parametrize("kind", SERVERS)
def test_a_stop_under_load_loses_no_call_that_has_reached_it(start_replica: StartReplica, kind: str) -> None:
    options = ("--slots", "8", "--service-time", "constant:40", "--grace-s", "5")
    server = start_replica(*options, server=kind)
    calls, begun_s = {}, time.monotonic()
    for number in range(200):
        calls[number] = add(server, number)
        if number == 100:
            server.process.terminate()
        time.sleep(max(0.0, begun_s + number * 0.005 - time.monotonic()))
    codes = {number: call.code().name for number, call in calls.items()}
    assert server.process.wait(10) == 0
    rows = {int(row["request_id"]): row["code"] for row in server.ledger()}
    assert set(rows.values()) == {"OK"}
    assert {codes[number] for number in rows} == {"OK"}
    assert set(range(90)) <= rows.keys()  # also the calls that waited for a slot
    # The others never arrived: gRPC refused them during the shutdown, or nothing listened any more.
    assert {code for number, code in codes.items() if number not in rows} <= {"CANCELLED", "UNAVAILABLE"}


@pytest.mark.parametrize("kind", SERVERS)
def test_after_the_grace_time_open_calls_are_cancelled_and_recorded(
    start_replica: StartReplica, kind: str
) -> None:
    options = ("--slots", "2", "--service-time", "constant:60000", "--grace-s", "0.3")
    server = start_replica(*options, server=kind)
    calls = [add(server, number) for number in range(2)]
    while server.control.GetIdentity(GetIdentityRequest()).calls_started < 2:
        time.sleep(0.005)
    server.process.terminate()
    _, err = server.process.communicate(timeout=10)
    assert (server.process.returncode, err) == (0, "")
    assert [row["code"] for row in server.ledger()] == ["CANCELLED"] * 2
    assert all(call.exception() is not None for call in calls)


def test_calls_waiting_for_a_thread_end_with_the_grace_time(start_replica: StartReplica) -> None:
    options = ("--slots", "1", "--service-time", "constant:60000", "--grace-s", "0.3")
    server = start_replica(*options, server="threads")
    with ThreadPoolExecutor(4) as callers:
        calls = [callers.submit(add(server, number).exception) for number in range(4)]
        while server.control.GetIdentity(GetIdentityRequest()).calls_started < 1:
            time.sleep(0.005)
        time.sleep(0.1)  # the others reach gRPC's queue, which cannot be inspected
        server.process.terminate()
        _, err = server.process.communicate(timeout=10)
        assert all(call.result() is not None for call in calls)
    assert (server.process.returncode, err) == (0, "")
    assert [row["code"] for row in server.ledger()] == ["CANCELLED"]
