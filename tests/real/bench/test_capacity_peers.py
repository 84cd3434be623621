"""The cheap HTTP/2 peers of the bench understand real gRPC, and a call that fails is not counted."""

import asyncio
import itertools
import json
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from replica_process import StartReplica

from bench.capacity_h2 import Answerer, Caller
from services import video_service_pb2 as pb
from services.video_service_pb2_grpc import VideoServiceStub

ROOT = Path(__file__).resolve().parents[3]
CALLS = 5


async def answered_by_replica(address: str, ids: "itertools.count[int]") -> int:
    """One connection, one call after another."""
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    transport, caller = await loop.create_connection(lambda: Caller(ids, endless=False), host, int(port))
    for number in range(1, CALLS + 1):
        caller.write(caller.call())
        for _ in range(500):
            if caller.answered == number:
                break
            await asyncio.sleep(0.01)
    transport.close()
    return caller.answered


def test_a_replica_answers_the_cheap_caller(start_replica: StartReplica) -> None:
    replica = start_replica()
    assert asyncio.run(answered_by_replica(replica.address, itertools.count(70))) == CALLS
    rows = replica.rows_within(CALLS)
    assert [row["request_id"] for row in rows] == [str(70 + number) for number in range(CALLS)]
    assert {(row["method"], row["code"]) for row in rows} == {("AddVideo", "OK")}


def test_grpc_understands_the_cheap_answerer() -> None:
    async def ask() -> list[tuple[str, tuple[str, ...]]]:
        server = await asyncio.get_running_loop().create_server(Answerer, "127.0.0.1", 0)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        answers = []
        async with grpc.aio.insecure_channel(address) as channel:
            for _ in range(3):  # the second is the first whose headers stand in the table
                call = VideoServiceStub(channel).AddVideo(pb.Video(id="a", title="b"))
                served_by = (await call).video.served_by
                answers.append((served_by, tuple(key for key, _ in await call.trailing_metadata())))
        server.close()
        return answers

    trailers = ("x-lab-queue-ns", "x-lab-service-ns", "x-lab-in-flight")
    assert asyncio.run(ask()) == [("replica-0", trailers)] * 3


@pytest.mark.parametrize(
    ("options", "status"), [((), 0), (("--fail-share", "1"), 1)], ids=["answered", "failing"]
)
def test_calls_that_fail_are_no_calls_answered(
    start_replica: StartReplica, options: tuple[str, ...], status: int
) -> None:
    replica = start_replica(*options)
    argv = [sys.executable, "-m", "bench.capacity_h2", "drive", replica.address, "2", "200", "0.4"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert done.returncode == status, done.stderr
    answered = [json.loads(line) for line in done.stdout.splitlines()]
    assert (answered[-1] > 20) == (status == 0)
