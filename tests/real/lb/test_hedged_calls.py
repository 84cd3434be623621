"""Hedged calls: when a second attempt is made, where it goes, who wins, and what the ledgers have of both."""

import asyncio
import time
from collections import Counter
from dataclasses import replace

import pytest
from clients import SETTINGS, calls, connect, run_clients
from replica_process import Server, StartReplica

from lb.client import Client
from lb.settings import ClientSettings

# So slow that no call ends before it is cancelled.
SLOW = ("--service-time", "constant:60000", "--slots", "1000")
FAILS = {"fail_share": 1.0, "service_time_ms": {"distribution": "constant", "mean": 0}}


def hedged(servers: list[Server], after_ms: float, **own: object) -> ClientSettings:
    target = ",".join(server.address for server in servers)
    return replace(SETTINGS, target=target, hedge_after_ms=after_ms, **own)  # type: ignore[arg-type]


async def ten_each(clients: list[Client]) -> None:
    await connect(clients)
    await asyncio.gather(*(calls(client, 10) for client in clients))


async def one_each(clients: list[Client]) -> None:
    await connect(clients)
    await asyncio.gather(*(calls(client, 1) for client in clients))


def attempts(server: Server, count: int) -> Counter[str]:
    """Return code -> attempts in a replica's ledger, once it has `count` rows."""
    return Counter(row["code"] for row in server.rows_within(count))


def test_a_call_that_takes_long_is_answered_by_the_next_replica(start_replica: StartReplica) -> None:
    servers = [start_replica(*SLOW), start_replica()]

    async def until_the_losers_have_ended(clients: list[Client]) -> None:
        await ten_each(clients)
        assert (
            len(await asyncio.to_thread(servers[0].rows_within, 10, 10)) == 10
        )  # clients are not closed yet

    rows, _ = run_clients(hedged(servers, 30), 2, until_the_losers_have_ended)
    assert Counter((row["code"], row["replica"]) for row in rows) == {("OK", "replica-1"): 20}
    # Every second call begins at the slow replica: its attempt there is cancelled when the other one wins.
    assert attempts(servers[0], 10) == {"CANCELLED": 10}
    assert attempts(servers[1], 20) == {"OK": 20}
    first = [row for row in rows if row["done_ns"] - row["sent_ns"] >= 28_000_000]
    assert len(first) >= 10
    ids = Counter(row["request_id"] for server in servers for row in server.ledger())
    assert sorted(ids.values()) == [1] * 10 + [2] * 10
    assert set(map(int, ids)) == {row["request_id"] for row in rows}


def test_quick_calls_are_one_attempt_in_exact_turns(start_replica: StartReplica) -> None:
    servers = [start_replica() for _ in range(2)]
    rows, _ = run_clients(hedged(servers, 60_000), 2, ten_each)
    assert Counter(row["replica"] for row in rows) == {"replica-0": 10, "replica-1": 10}
    assert [attempts(server, 10) for server in servers] == [{"OK": 10}] * 2


def test_there_are_at_most_so_many_attempts_each_at_another_replica(start_replica: StartReplica) -> None:
    servers = [start_replica(*SLOW) for _ in range(4)]
    rows, _ = run_clients(hedged(servers, 10, hedge_attempts=3, deadline_s=0.2), 10, one_each)
    assert {row["code"] for row in rows} == {"DEADLINE_EXCEEDED"}
    while sum(len(server.ledger()) for server in servers) < 30:  # a cancelled call's row comes a little later
        time.sleep(0.01)
    by_call = Counter[str]()
    for server in servers:
        own = Counter(row["request_id"] for row in server.ledger())
        assert set(own.values()) == {1}
        by_call.update(own)
    assert list(by_call.values()) == [3] * 10


@pytest.mark.parametrize("after_ms", [0, 60_000])
def test_a_failed_attempt_is_followed_at_once(after_ms: float, start_replica: StartReplica) -> None:
    servers = [start_replica(**FAILS), start_replica()]
    began_s = time.monotonic()
    rows, _ = run_clients(hedged(servers, after_ms), 1, ten_each)
    assert Counter((row["code"], row["replica"]) for row in rows) == {("OK", "replica-1"): 10}
    assert time.monotonic() - began_s < 30  # not after_ms
    assert attempts(servers[1], 10)["OK"] == 10


def test_when_all_attempts_fail_the_call_fails(start_replica: StartReplica) -> None:
    servers = [start_replica(**FAILS) for _ in range(2)]
    rows, _ = run_clients(hedged(servers, 60_000), 1, ten_each)
    assert {row["code"] for row in rows} == {"UNAVAILABLE"}
    assert [attempts(server, 10) for server in servers] == [{"UNAVAILABLE": 10}] * 2
