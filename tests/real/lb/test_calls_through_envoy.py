"""Clients that call through a real Envoy: sticky by cookie, or round robin."""

from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from clients import SETTINGS, calls, run_clients
from lab_process import StartCell

from lb.client import Client

METHODS = ["AddVideo", "ListVideos", "GetVideos", "GetVideo"]
THROUGH_ENVOY = replace(SETTINGS, service_config=None)


@pytest.mark.parametrize("method", METHODS)
def test_every_call_goes_through_envoy_in_turns(method: str, start_cell: StartCell) -> None:
    live = start_cell("envoy", "round_robin")

    async def script(clients: list[Client]) -> None:
        for client in clients:
            await calls(client, 6, method)

    rows, _ = run_clients(replace(THROUGH_ENVOY, target=live.target), 3, script)
    assert {row["code"] for row in rows} == {"OK"}
    assert Counter(row["replica"] for row in rows) == dict.fromkeys(live.replicas, 6)
    # Envoy's id of the connection; each client has its own.
    assert len({row["connection"] for row in rows}) == 3
    assert all(row["connection"].isdigit() for row in rows)


@pytest.mark.parametrize("method", METHODS)
def test_with_a_cookie_jar_a_session_stays_on_its_first_replica(method: str, start_cell: StartCell) -> None:
    live = start_cell("envoy", "sticky")

    async def script(clients: list[Client]) -> None:
        for client in clients:
            await calls(client, 5, method)

    rows, _ = run_clients(replace(THROUGH_ENVOY, target=live.target, cookie_jar=True), 12, script)
    homes = defaultdict(set)
    for row in rows:
        homes[row["client"]].add(row["replica"])
    assert {len(replicas) for replicas in homes.values()} == {1}
    # Envoy makes the first picks by round robin.
    assert Counter(next(iter(home)) for home in homes.values()) == dict.fromkeys(live.replicas, 4)


def test_without_a_cookie_jar_sticky_has_no_effect(start_cell: StartCell) -> None:
    live = start_cell("envoy", "sticky")

    async def script(clients: list[Client]) -> None:
        for client in clients:
            await calls(client, 6)

    rows, _ = run_clients(replace(THROUGH_ENVOY, target=live.target), 2, script)
    for number in (0, 1):
        spread = Counter(row["replica"] for row in rows if row["client"] == number)
        assert spread == dict.fromkeys(live.replicas, 2)


def test_an_error_keeps_its_code_its_replica_and_the_session(start_cell: StartCell) -> None:
    live = start_cell("envoy", "sticky")
    settings = replace(THROUGH_ENVOY, target=live.target, cookie_jar=True)
    rows = []
    for _ in range(4):  # with the same ids each time: the fourth session calls a replica that has them

        async def script(clients: list[Client]) -> None:
            await calls(clients[0], 3)

        rows, _ = run_clients(settings, 1, script)
    assert [row["code"] for row in rows] == ["ALREADY_EXISTS"] * 3
    assert len({row["replica"] for row in rows}) == 1
    assert rows[0]["replica"] in live.replicas
