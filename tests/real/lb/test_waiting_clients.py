"""Clients with await_each_answer: the plan stays, and calls wait for the answer to the call before."""

import itertools
import time
from dataclasses import replace
from typing import Any

import pytest
from clients import SETTINGS, connect, run_clients
from replica_process import StartReplica

from lb.client import Client
from lb.plan import PlannedCall
from lb.settings import ClientSettings

MS = 1_000_000
PLAN_MS = (0, 10, 20, 30, 300)
WAITING = replace(SETTINGS, await_each_answer=True, await_first_answer=False, messages_per_stream=3)


def rows_of(
    settings: ClientSettings, plan: list[PlannedCall], end_after_ms: int | None = None
) -> list[dict[str, Any]]:
    """Return the rows, sorted by request id. Instants are ns from the phase's start."""
    start_ns: list[int] = []

    async def script(clients: list[Client]) -> None:
        await connect(clients)
        start_ns.append(time.monotonic_ns())
        end_ns = None if end_after_ms is None else start_ns[0] + end_after_ms * MS
        await clients[0].run_open_loop(iter(plan), start_ns[0], end_ns)

    rows, _ = run_clients(settings, 1, script)
    for row in rows:
        for name in ("planned_ns", "ready_ns", "sent_ns", "done_ns"):
            row[name] -= start_ns[0]
    return sorted(rows, key=lambda row: row["request_id"])


@pytest.mark.parametrize("method", ["AddVideo", "ListVideos", "GetVideos", "GetVideo"])
def test_a_call_waits_for_the_last_ones_answer_and_keeps_its_planned_time(
    method: str, start_replica: StartReplica
) -> None:
    server = start_replica("--service-time", "constant:40", "--slots", "8")
    plan = [PlannedCall(at_ms * MS, method) for at_ms in PLAN_MS]
    rows = rows_of(replace(WAITING, target=server.address), plan)
    assert [row["code"] for row in rows] == ["OK"] * 5
    assert [row["planned_ns"] for row in rows] == [call.at_ns for call in plan]
    for before, after in itertools.pairwise(rows):
        assert after["ready_ns"] == max(before["done_ns"], after["planned_ns"])
        assert after["sent_ns"] >= after["ready_ns"]
    assert rows[3]["sent_ns"] - rows[3]["planned_ns"] > 3 * 35 * MS - 30 * MS


def test_other_clients_send_as_planned(start_replica: StartReplica) -> None:
    server = start_replica("--service-time", "constant:1500", "--slots", "8")
    settings = replace(WAITING, target=server.address, await_each_answer=False)
    rows = rows_of(settings, [PlannedCall(at_ms * MS, "AddVideo") for at_ms in PLAN_MS])
    assert [row["code"] for row in rows] == ["OK"] * len(PLAN_MS)
    assert all(row["sent_ns"] < rows[0]["done_ns"] for row in rows)
    assert all(row["ready_ns"] == row["planned_ns"] for row in rows)


@pytest.mark.alone
def test_calls_later_than_one_deadline_are_not_sent(start_replica: StartReplica) -> None:
    server = start_replica("--service-time", "constant:5000")
    settings = replace(WAITING, target=server.address, deadline_s=0.15)
    plan = [PlannedCall(0, "AddVideo") for _ in range(6)]
    rows = rows_of(settings, plan, end_after_ms=200)
    # Calls are sent at about 0, 150 and 300 ms. After 350 ms it is too late to send one.
    assert 2 <= len(rows) <= 3
    assert all(row["sent_ns"] <= 350 * MS for row in rows)
    assert len(rows_of(replace(settings, key_prefix="patient"), plan)) == 6


@pytest.mark.alone
def test_calls_that_are_not_sent_keep_their_numbers(start_replica: StartReplica) -> None:
    """So a request has the same id in every arm, however many calls of the warm-up an arm did not send."""
    server = start_replica("--service-time", "constant:5000")
    settings = replace(WAITING, target=server.address, deadline_s=0.1)
    plan = [PlannedCall(0, "AddVideo") for _ in range(6)]

    async def script(clients: list[Client]) -> None:
        now_ns = time.monotonic_ns()
        await clients[0].run_open_loop(iter(plan), now_ns, now_ns)
        await clients[0].run_open_loop(iter(plan[:1]), time.monotonic_ns())

    rows, _ = run_clients(settings, 1, script)
    assert 2 <= len(rows) <= 3  # and three or four calls of the first phase were not sent
    assert rows[-1]["request_id"] == 6


def test_an_unanswered_call_delays_the_next_until_its_deadline(start_replica: StartReplica) -> None:
    server = start_replica("--service-time", "constant:5000")
    settings = replace(WAITING, target=server.address, deadline_s=0.1)
    rows = rows_of(settings, [PlannedCall(0, "AddVideo"), PlannedCall(0, "AddVideo")])
    assert [row["code"] for row in rows] == ["DEADLINE_EXCEEDED"] * 2
    assert rows[1]["sent_ns"] >= rows[0]["done_ns"] >= 99 * MS
