"""Clients that follow a control plane (route xds): each policy, and endpoints that come, drain and go."""

import asyncio
import base64
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from behind_envoy import StartBalanced, on_one_connection, session
from clients import calls
from envoy_process import arm_of
from proxyless import Proxyless, Rows
from replica_process import StartReplica

from lb.client import Client

Start = Callable[..., Proxyless]


@pytest.fixture
def proxyless(tmp_path: Path, start_replica: StartReplica) -> Iterator[Start]:
    """Starts replicas and a control plane. `settings`: keys of the arm."""
    started: list[Proxyless] = []

    def start(policy: str, replicas: int = 3, **settings: object) -> Proxyless:
        servers = {f"replica-{number}": start_replica("--slots", "1000") for number in range(replicas)}
        started.append(Proxyless(tmp_path, arm_of("xds", policy, **settings), servers))
        return started[-1]

    yield start
    for one in started:
        one.control.close()


def by_client(rows: Rows) -> dict[int, list[str]]:
    """Return client -> the replicas that answered it, in the order of its calls. All calls ended with OK."""
    assert {row["code"] for row in rows} == {"OK"}
    found: dict[int, list[str]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["request_id"]):
        found[row["client"]].append(row["replica"])
    return found


async def sixty_each(clients: list[Client]) -> None:
    await asyncio.gather(*(calls(client, 60) for client in clients))


def test_each_client_takes_exact_turns(proxyless: Start) -> None:
    live = proxyless("round_robin")
    for replicas in by_client(live.run(4, sixty_each)).values():
        assert Counter(replicas) == dict.fromkeys(live.servers, 20)
        assert all(len(set(replicas[place : place + 3])) == 3 for place in range(58))


def test_the_ring_is_that_of_envoy(proxyless: Start, balanced: StartBalanced) -> None:
    # Both hash the key, and "host:port_N" for the ring's points, with xxHash64: no exception.
    envoy = balanced("ring_hash")
    live = proxyless("ring_hash", replicas=0)
    live.servers |= envoy.servers
    live.publish()
    found = by_client(live.run(60, lambda clients: asyncio.gather(*(calls(one, 3) for one in clients))))
    behind = on_one_connection(envoy.address, [session(number) for number in range(60)])
    assert {client: set(replicas) for client, replicas in found.items()} == {
        number: {answer.replica} for number, answer in enumerate(behind)
    }


def test_a_session_stays_on_the_replica_of_its_first_call(proxyless: Start) -> None:
    live = proxyless("sticky")
    homes = by_client(live.run(12, sixty_each, cookie_jar=True))
    assert all(len(set(replicas)) == 1 for replicas in homes.values())
    assert len({replicas[0] for replicas in homes.values()}) > 1  # each client begins its turns at random


def test_without_a_cookie_jar_sessions_take_turns(proxyless: Start) -> None:
    live = proxyless("sticky")  # gRPC sets the cookie and does not keep it
    found = by_client(live.run(4, sixty_each))
    assert all(Counter(replicas) == dict.fromkeys(live.servers, 20) for replicas in found.values())


def test_the_cookie_names_the_address_and_its_lifetime(proxyless: Start) -> None:
    live = proxyless("sticky", options={"ttl_s": 7})
    seen: list[str] = []

    async def one_call(clients: list[Client]) -> None:
        (client,) = clients
        await calls(client, 1)
        seen.append(str(client._session_at(0)._jar.header()))  # type: ignore[union-attr]

    (row,) = live.run(1, one_call, cookie_jar=True)
    name, _, value = seen[0].partition("=")
    named = base64.b64decode(value).decode()
    assert name == "LABALB"
    assert named.partition(";")[0] == live.servers[row["replica"]].address


def test_a_new_endpoint_joins_the_turns_and_takes_no_session(proxyless: Start) -> None:
    for policy in ("round_robin", "sticky"):
        live = proxyless(policy)
        joining = {"replica_2": None}
        live.publish(**joining)

        async def script(clients: list[Client], live: Proxyless = live) -> None:
            await sixty_each(clients)
            live.publish()
            await live.accepted()
            await asyncio.gather(*(calls(client, 1) for client in clients))  # until the connection stands
            await asyncio.sleep(0.2)
            await sixty_each(clients)

        for replicas in by_client(live.run(3, script, cookie_jar=True)).values():
            assert "replica-2" not in replicas[:60]
            after = Counter(replicas[61:])
            expected = dict.fromkeys(live.servers, 20) if policy == "round_robin" else {replicas[0]: 60}
            assert after == expected


@pytest.mark.parametrize("keep", [False, True])
def test_sessions_leave_a_draining_replica_unless_they_are_kept(keep: bool, proxyless: Start) -> None:
    live = proxyless("sticky", options={"keep_draining": keep})

    async def script(clients: list[Client]) -> None:
        await sixty_each(clients)
        live.publish(replica_0=live.draining("replica-0"))
        await live.accepted()
        await sixty_each(clients)

    moved = 0
    for replicas in by_client(live.run(12, script, cookie_jar=True)).values():
        home, after = replicas[0], set(replicas[60:])
        moves = home == "replica-0" and not keep
        moved += moves
        assert len(after) == 1
        assert (home not in after) == moves
    assert keep or moved


def test_an_endpoint_that_leaves_gets_nothing_and_no_call_fails(proxyless: Start) -> None:
    live = proxyless("round_robin")

    async def script(clients: list[Client]) -> None:
        under_way = [asyncio.create_task(calls(client, 60)) for client in clients]
        await asyncio.sleep(0.02)
        live.publish(replica_0=None)
        await asyncio.gather(*under_way)
        await live.accepted()
        await sixty_each(clients)

    for replicas in by_client(live.run(4, script)).values():
        assert set(replicas[60:]) == {"replica-1", "replica-2"}
