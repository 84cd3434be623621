"""A client's consecutive sessions: their metadata, their replicas, and when they open."""

import asyncio
import itertools
import os
import signal
import time
from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

import pytest
from clients import SETTINGS, calls, run_clients
from lab_process import StartCell
from replica_process import StartReplica

from lb.client import Client
from lb.plan import NS_PER_S, PlannedCall
from services.lab_control_pb2 import Behaviour

LIFETIME_S = 0.1
STICKY = replace(SETTINGS, service_config=None, cookie_jar=True, session_lifetime_s=LIFETIME_S)


def by_session(rows: list[dict[str, Any]]) -> dict[tuple[int, int], list[dict[str, Any]]]:
    sessions = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["request_id"]):
        sessions[row["client"], row["session"]].append(row)
    return sessions


async def thirty_each(clients: list[Client]) -> None:
    """Thirty calls of each client, planned 10 ms apart. They make three sessions."""
    start_ns = time.monotonic_ns()
    for number, client in itertools.product(range(30), clients):
        await client.call("AddVideo", start_ns + number * 10_000_000)


def test_each_session_of_a_client_is_balanced_anew(start_cell: StartCell) -> None:
    live = start_cell("envoy", "sticky")
    rows, _ = run_clients(replace(STICKY, target=live.target), 2, thirty_each)
    assert {row["code"] for row in rows} == {"OK"}
    sessions = by_session(rows)
    assert list(sessions) == [(client, number) for client in (0, 1) for number in range(3)]
    assert {len(session) for session in sessions.values()} == {10}
    homes = {key: {row["replica"] for row in session} for key, session in sessions.items()}
    assert {len(replicas) for replicas in homes.values()} == {1}
    # Round robin picks for each session's first call: six sessions, so each of three replicas gets two.
    assert Counter(min(home) for home in homes.values()) == dict.fromkeys(live.replicas, 2)


def test_one_session_without_a_lifetime(start_cell: StartCell) -> None:
    live = start_cell("envoy", "sticky")
    rows, _ = run_clients(replace(STICKY, target=live.target, session_lifetime_s=None), 2, thirty_each)
    assert list(by_session(rows)) == [(0, 0), (1, 0)]


@pytest.mark.alone
@pytest.mark.parametrize("await_first_answer", [True, False])
def test_each_session_opens_with_an_answered_call_and_the_plan_stays(
    await_first_answer: bool, start_cell: StartCell
) -> None:
    slow = {"distribution": "constant", "mean": 60}
    live = start_cell("direct", "round_robin", count=1, service_time_ms=slow)
    plan = [PlannedCall(round(at_s * NS_PER_S), "AddVideo") for at_s in (0, 0.01, 0.02, 0.10, 0.11, 0.25)]

    async def script(clients: list[Client]) -> None:
        await clients[0].run_open_loop(iter(plan), time.monotonic_ns())

    settings = replace(
        SETTINGS, target=live.target, session_lifetime_s=LIFETIME_S, await_first_answer=await_first_answer
    )
    rows, _ = run_clients(settings, 1, script)
    sessions = by_session(rows)
    assert [(key, len(session)) for key, session in sessions.items()] == [
        ((0, 0), 3),
        ((0, 1), 2),
        ((0, 2), 1),
    ]
    first_ns = min(row["planned_ns"] for row in rows)
    assert sorted(row["planned_ns"] - first_ns for row in rows) == [call.at_ns for call in plan]
    for opening, *others in sessions.values():
        # The first call of a session waits for no other call, not even of the session before.
        assert opening["sent_ns"] - opening["planned_ns"] < 0.04 * NS_PER_S
        assert all((row["sent_ns"] >= opening["done_ns"]) is await_first_answer for row in others)
        # Until the first answer the others were not ready to be sent; the generator was not late.
        assert opening["ready_ns"] == opening["planned_ns"]
        waited_ns = opening["done_ns"] if await_first_answer else 0
        assert [row["ready_ns"] for row in others] == [max(row["planned_ns"], waited_ns) for row in others]


def test_a_failed_first_call_delays_no_other_call(start_replica: StartReplica) -> None:
    server = start_replica(fail_share=1, fail_code="UNAVAILABLE")
    plan = [PlannedCall(at_ms * 1_000_000, "AddVideo") for at_ms in (0, 5, 10, 15)]

    async def script(clients: list[Client]) -> None:
        async with asyncio.timeout(20):
            await clients[0].run_open_loop(iter(plan), time.monotonic_ns())
        assert server.control.SetBehaviour(Behaviour(fail_share=0)).fail_share == 0
        await clients[0].run_open_loop(iter(plan), time.monotonic_ns())

    rows, _ = run_clients(replace(SETTINGS, target=server.address), 1, script)
    assert [row["code"] for row in rows] == ["UNAVAILABLE"] * 4 + ["OK"] * 4
    assert {row["session"] for row in rows} == {0}


def test_a_new_cookie_replaces_the_old_one(start_cell: StartCell) -> None:
    live = start_cell("envoy", "sticky")
    settings = replace(SETTINGS, target=live.target, service_config=None, cookie_jar=True)

    async def script(clients: list[Client]) -> None:
        for client in clients:
            await calls(client, 1)
        os.kill(live.pids["replica-0"], signal.SIGKILL)
        # The calls of its session fail until Envoy notices that the replica is gone. Then it moves.
        for _ in range(80):
            await asyncio.gather(*(calls(client, 1) for client in clients))
            await asyncio.sleep(0.05)

    rows, _ = run_clients(settings, 3, script)
    assert sorted(row["replica"] for row in rows[:3]) == list(live.replicas)
    lately = rows[-60:]
    assert {row["code"] for row in lately} == {"OK"}
    homes = {(row["client"], row["replica"]) for row in lately}
    assert len(homes) == 3
    assert {replica for _, replica in homes} == {"replica-1", "replica-2"}
