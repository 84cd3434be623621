"""Clients with client-side balancing: which replicas answer, over which connections, and the rows."""

import asyncio
import time
from collections import Counter
from dataclasses import replace

import psutil
import pytest
from clients import SETTINGS, calls, run_clients
from lab_process import StartCell

from lb.client import Client
from lb.plan import PlannedCall
from lb.policies import service_config
from lb.rows import REQUEST_IDS_PER_CLIENT

PICK_FIRST = replace(SETTINGS, service_config=service_config("pick_first"))


@pytest.mark.alone
def test_round_robin_is_even_once_every_connection_is_ready(start_cell: StartCell) -> None:
    live = start_cell("direct", "round_robin", count=4)

    async def script(clients: list[Client]) -> None:
        for client in clients:
            await calls(client, 45)

    rows, _ = run_clients(replace(SETTINGS, target=live.target), 3, script)
    for number in range(3):
        answered = [row["replica"] for row in rows if row["client"] == number]
        # Before the last connection is ready, round robin uses fewer replicas.
        ready = max(answered.index(name) for name in live.replicas)
        spread = Counter(answered[ready + 1 :])
        assert ready <= 10
        assert len(spread) == 4
        assert max(spread.values()) - min(spread.values()) <= 1


def test_pick_first_stays_on_one_replica(start_cell: StartCell) -> None:
    live = start_cell("direct", "pick_first")

    async def script(clients: list[Client]) -> None:
        for client in clients:
            await calls(client, 20)

    rows, _ = run_clients(replace(PICK_FIRST, target=live.target), 2, script)
    assert Counter(row["replica"] for row in rows) == {"replica-0": 40}


def test_every_client_has_a_connection_of_its_own(start_cell: StartCell) -> None:
    live = start_cell("direct", "pick_first", count=1)
    port = int(live.target.rpartition(":")[2])
    open_at_once: list[int] = []

    async def script(clients: list[Client]) -> None:
        for client in clients:
            await calls(client, 2)
        established = psutil.Process(live.pids["replica-0"]).net_connections("tcp")
        open_at_once.append(sum(c.status == "ESTABLISHED" and c.laddr.port == port for c in established))

    rows, _ = run_clients(replace(PICK_FIRST, target=live.target), 10, script)
    assert open_at_once == [10]
    assert len({row["connection"] for row in rows}) == 10
    assert len({(row["client"], row["connection"]) for row in rows}) == 10


@pytest.mark.alone
def test_a_row_tells_what_client_and_replica_know(start_cell: StartCell) -> None:
    live = start_cell(
        "direct", "pick_first", count=1, slots=1, service_time_ms={"distribution": "constant", "mean": 40}
    )

    async def script(clients: list[Client]) -> None:
        start_ns = time.monotonic_ns()
        plan = [PlannedCall(0, "AddVideo"), *(PlannedCall(1_000_000, "AddVideo") for _ in range(2))]
        await clients[0].run_open_loop(iter(plan), start_ns)
        await clients[1].run_open_loop(iter(plan[:1]), start_ns)

    epoch_ns = time.monotonic_ns()
    settings = replace(PICK_FIRST, target=live.target, epoch_ns=epoch_ns)
    rows, messages = run_clients(settings, 2, script)
    assert messages == []
    assert [row["request_id"] for row in rows] == [0, 1, 2, REQUEST_IDS_PER_CLIENT]
    for row in rows:
        assert (row["replica"], row["code"], row["method"]) == ("replica-0", "OK", "AddVideo")
        assert (row["session"], row["messages"]) == (0, 1)
        assert 0 <= row["planned_ns"] <= row["sent_ns"] < row["done_ns"]
        # A replica sleeps to within one millisecond.
        assert 38e6 <= row["service_ns"] <= row["done_ns"] - row["sent_ns"]
    # The replica has one slot. Of two calls sent at once, the second waits for the first.
    assert rows[0]["queue_ns"] < 30e6 < rows[2]["queue_ns"]
    assert rows[2]["in_flight"] >= 1


@pytest.mark.parametrize(
    ("method", "messages"), [("AddVideo", 0), ("ListVideos", 4), ("GetVideos", 4), ("GetVideo", 4)]
)
def test_all_four_calls_and_their_messages(method: str, messages: int, start_cell: StartCell) -> None:
    live = start_cell("direct", "round_robin", count=1)

    async def script(clients: list[Client]) -> None:
        await calls(clients[0], 2, method)

    rows, sent = run_clients(replace(SETTINGS, target=live.target), 1, script)
    assert [(row["code"], row["replica"], row["messages"]) for row in rows] == [
        ("OK", "replica-0", messages or 1)
    ] * 2
    assert [(row["request_id"], row["message"]) for row in sent] == [
        (request, number) for request in (0, 1) for number in range(messages)
    ]
    for message in sent:
        row = rows[message["request_id"]]
        assert row["sent_ns"] <= message["sent_ns"] <= message["received_ns"] <= row["done_ns"]
        assert message["replica"] == "replica-0"


def test_a_failed_call_is_a_row_with_its_code(start_cell: StartCell) -> None:
    live = start_cell("direct", "round_robin", count=1)
    settings = replace(SETTINGS, target=live.target)

    async def script(clients: list[Client]) -> None:
        await calls(clients[0], 1)

    run_clients(settings, 1, script)
    (again,), _ = run_clients(settings, 1, script)  # again with the same ids
    assert (again["code"], again["replica"], again["messages"]) == ("ALREADY_EXISTS", "replica-0", 0)


@pytest.mark.parametrize("method", ["AddVideo", "ListVideos", "GetVideos", "GetVideo"])
def test_a_call_without_a_server_is_a_row_without_a_replica(method: str) -> None:
    async def script(clients: list[Client]) -> None:
        await calls(clients[0], 1, method)

    # Nothing listens on port 1 (tcpmux).
    (row,), messages = run_clients(replace(SETTINGS, target="127.0.0.1:1"), 1, script)
    assert (row["code"], row["replica"], row["messages"], row["connection"]) == ("UNAVAILABLE", "", 0, "")
    assert messages == []


@pytest.mark.parametrize("method", ["AddVideo", "ListVideos", "GetVideos", "GetVideo"])
def test_the_deadline_ends_a_call(method: str, start_cell: StartCell) -> None:
    slow = {"distribution": "constant", "mean": 1000}
    live = start_cell("direct", "round_robin", count=1, service_time_ms=slow)

    async def script(clients: list[Client]) -> None:
        await calls(clients[0], 1, method)

    (row,), _ = run_clients(replace(SETTINGS, target=live.target, deadline_s=0.1), 1, script)
    assert row["code"] == "DEADLINE_EXCEEDED"
    assert 100e6 <= row["done_ns"] - row["sent_ns"] < 900e6


@pytest.mark.alone
def test_a_session_opens_with_one_answered_call(start_cell: StartCell) -> None:
    slow = {"distribution": "constant", "mean": 60}
    live = start_cell("direct", "round_robin", count=1, service_time_ms=slow)

    async def script(clients: list[Client]) -> None:
        plan = (PlannedCall(0, "AddVideo") for _ in range(3))
        await clients[0].run_open_loop(plan, time.monotonic_ns())

    def sent_after_first_answer(await_first_answer: bool) -> list[bool]:
        prefix = f"await-{await_first_answer}"
        settings = replace(
            SETTINGS, target=live.target, await_first_answer=await_first_answer, key_prefix=prefix
        )
        rows, _ = run_clients(settings, 1, script)
        opening, *others = sorted(rows, key=lambda row: row["request_id"])
        return [row["sent_ns"] >= opening["done_ns"] for row in others]

    assert sent_after_first_answer(True) == [True, True]
    assert sent_after_first_answer(False) == [False, False]


@pytest.mark.parametrize("connected", [True, False])
def test_closing_a_client_ends_its_open_call(connected: bool, start_cell: StartCell) -> None:
    live = start_cell(
        "direct", "pick_first", count=1, service_time_ms={"distribution": "constant", "mean": 60_000}
    )
    target = live.target if connected else "127.0.0.1:9"  # nobody listens there, and the call waits for it
    waits = service_config("pick_first", wait_for_ready=True)

    async def script(clients: list[Client]) -> None:
        call = asyncio.ensure_future(clients[0].call("AddVideo", time.monotonic_ns()))
        await asyncio.sleep(0.1)
        assert not call.done()
        await clients[0].close()
        await call

    settings = replace(SETTINGS, target=target, service_config=waits, deadline_s=60)
    (row,), _ = run_clients(settings, 1, script)
    assert row["code"] == "CANCELLED"
    assert row["done_ns"] - row["sent_ns"] < 30e9
