"""Streams, message by message: their pace, their length, and the replica that each message names."""

import asyncio
import itertools
from dataclasses import replace
from typing import Any

import pytest
from clients import SETTINGS, calls, connect, run_clients
from lab_process import StartCell
from replica_process import Server, StartReplica

from lb.client import Client

STREAMS = ["ListVideos", "GetVideos", "GetVideo"]
GAP_NS = 20_000_000


def stream(method: str, count: int = 1) -> Any:
    async def script(clients: list[Client]) -> None:
        await connect(clients)
        await calls(clients[0], count, method)

    return script


@pytest.mark.parametrize("method", STREAMS)
def test_messages_keep_the_pace_of_their_plan(method: str, server: Server) -> None:
    settings = replace(SETTINGS, target=server.address, messages_per_stream=10, message_gap_ms=20)
    (row,), messages = run_clients(settings, 1, stream(method))
    assert (row["code"], row["messages"]) == ("OK", 10)
    assert [message["message"] for message in messages] == list(range(10))
    for number, message in enumerate(messages):
        assert message["planned_ns"] == row["planned_ns"] + number * GAP_NS
        assert message["received_ns"] <= row["done_ns"]
        if method == "ListVideos":  # there is one request, and the replica paces the messages
            assert message["sent_ns"] == messages[0]["sent_ns"] >= row["sent_ns"]
            assert message["received_ns"] >= message["planned_ns"]
        else:
            assert message["planned_ns"] <= message["sent_ns"] <= message["received_ns"]
    assert row["done_ns"] - row["planned_ns"] >= 9 * GAP_NS


def test_a_bidirectional_stream_never_sends_before_the_previous_answer(start_replica: StartReplica) -> None:
    server = start_replica("--service-time", "constant:30")
    settings = replace(SETTINGS, target=server.address, messages_per_stream=6, message_gap_ms=10)
    (row,), messages = run_clients(settings, 1, stream("GetVideo"))
    assert row["code"] == "OK"
    for before, after in itertools.pairwise(messages):
        assert after["planned_ns"] - before["planned_ns"] == 10_000_000
        assert after["sent_ns"] >= before["received_ns"]
    # The stream is slower than its plan, so each message is later than the one before.
    late_ns = [message["sent_ns"] - message["planned_ns"] for message in messages]
    assert late_ns[-1] > 4 * 18_000_000


@pytest.mark.parametrize(
    ("method", "length"),
    [(method, length) for method in STREAMS for length in (1, 25, 1000)] + [("GetVideo", 10_000)],
)
def test_streams_of_any_length(method: str, length: int, server: Server) -> None:
    settings = replace(SETTINGS, target=server.address, messages_per_stream=length, deadline_s=30)
    (row,), messages = run_clients(settings, 1, stream(method))
    assert (row["code"], row["messages"], len(messages)) == ("OK", length, length)
    assert {message["replica"] for message in messages} == {"replica-0"}


@pytest.mark.alone
def test_a_stream_that_is_cut_off_ends_then_and_keeps_its_messages(server: Server) -> None:
    settings = replace(
        SETTINGS, target=server.address, messages_per_stream=3, message_gap_ms=700, deadline_s=0.3
    )
    (row,), messages = run_clients(settings, 1, stream("GetVideo"))
    assert (row["code"], row["messages"], len(messages)) == ("DEADLINE_EXCEEDED", 1, 1)
    assert 0.29e9 <= row["done_ns"] - row["sent_ns"] < 0.6e9  # the next message was due later


@pytest.mark.alone
@pytest.mark.parametrize("method", ["ListVideos", "GetVideo"])
def test_an_open_stream_provides_the_cookie_for_other_calls(method: str, start_cell: StartCell) -> None:
    live = start_cell("envoy", "sticky")
    settings = replace(SETTINGS, target=live.target, service_config=None, cookie_jar=True)
    settings = replace(settings, await_first_answer=False, messages_per_stream=4, message_gap_ms=100)

    async def script(clients: list[Client]) -> None:
        running = asyncio.ensure_future(calls(clients[0], 1, method))
        await asyncio.sleep(0.15)
        await calls(clients[0], 5, "AddVideo")
        assert not running.done()
        await running

    rows, _ = run_clients(settings, 1, script)
    assert len({row["replica"] for row in rows}) == 1
