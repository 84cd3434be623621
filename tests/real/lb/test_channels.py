"""Settings of a client's channels, as the replica and the wire show them: sharing, compression, keepalive."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from clients import HASH_KEY_SWITCH, SETTINGS, calls, connect, run_clients
from relay import Relay
from replica_process import Server, StartReplica

from lb.client import Client
from lb.policies import service_config
from lb.settings import ClientSettings

PING_BYTES = 17  # the whole frame


async def five_each(clients: list[Client]) -> None:
    await connect(clients)
    await asyncio.gather(*(calls(client, 5) for client in clients))


def peers(server: Server) -> Counter[str]:
    return Counter(row["peer"] for row in server.ledger())


@pytest.mark.parametrize(
    ("changes", "connections"),
    [({}, 6), ({"connections": 1}, 6), ({"connections": 5}, 30), ({"share_connections": True}, 1)],
    ids=["own", "one", "five", "shared"],
)
def test_connections_of_six_clients(changes: dict[str, Any], connections: int, server: Server) -> None:
    rows, _ = run_clients(replace(SETTINGS, target=server.address, **changes), 6, five_each)
    assert [row["code"] for row in rows] == ["OK"] * 30
    assert Counter(row["connection"] for row in rows) == peers(server)
    assert len(peers(server)) == connections


def test_shared_connections_are_one_for_each_replica(start_replica: StartReplica) -> None:
    servers = [start_replica() for _ in range(2)]
    target = ",".join(server.address for server in servers)
    run_clients(replace(SETTINGS, target=target, share_connections=True), 6, five_each)
    assert [len(peers(server)) for server in servers] == [1, 1]


def test_several_connections_are_taken_in_turn(server: Server) -> None:
    settings = replace(SETTINGS, target=server.address, connections=3)
    rows, _ = run_clients(settings, 1, lambda clients: calls(clients[0], 9))
    taken = [row["connection"] for row in rows]
    assert len(set(taken)) == 3
    assert taken == taken[:3] * 3


@pytest.fixture
def relay(server: Server) -> Iterator[Relay]:
    relay = Relay(server.address)
    yield relay
    relay.close()


def test_compression_reduces_the_bytes_on_the_wire(relay: Relay) -> None:
    def sent_bytes(**changes: Any) -> int:
        before = relay.sent_bytes
        settings = replace(SETTINGS, target=relay.address, key_prefix=f"{time.monotonic_ns()}", **changes)
        rows, _ = run_clients(settings, 1, lambda clients: calls(clients[0], 20))
        assert [row["code"] for row in rows] == ["OK"] * 20
        return relay.sent_bytes - before

    plain = sent_bytes(payload_bytes=2500)
    assert 20 * 2500 < plain < 20 * 2700
    for compression in ("gzip", "deflate"):
        assert sent_bytes(payload_bytes=2500, compression=compression) < plain / 5
    # Compression does not make a few words shorter.
    assert sent_bytes(compression="gzip") > sent_bytes() * 0.8


@pytest.mark.calm
def test_keepalive_pings_are_on_the_wire(relay: Relay) -> None:
    def idle_bytes(settings: ClientSettings) -> tuple[int, list[str]]:
        sent: list[int] = []

        async def script(clients: list[Client]) -> None:
            await calls(clients[0], 1)
            await asyncio.sleep(0.2)
            before = relay.sent_bytes
            await asyncio.sleep(1.2)
            sent.append(relay.sent_bytes - before)

        rows, _ = run_clients(settings, 1, script)
        return sent[0], [row["code"] for row in rows]

    settings = replace(SETTINGS, target=relay.address)
    silent, codes = idle_bytes(settings)
    assert (silent, codes) == (0, ["OK"])
    pinged, codes = idle_bytes(replace(settings, key_prefix="pinged", keepalive_ms=1000))
    assert (pinged, codes) == (PING_BYTES, ["OK"])


def test_pings_too_often_end_the_calls_of_their_connection(start_replica: StartReplica) -> None:
    # gRPC sends one ping a second at most. A Python server accepts three pings without data, not four.
    server = start_replica("--service-time", "constant:60000")
    settings = replace(SETTINGS, target=server.address, keepalive_ms=1000, deadline_s=60)
    (row,), _ = run_clients(settings, 1, lambda clients: calls(clients[0], 1))
    assert row["code"] == "UNAVAILABLE"
    assert 2.5e9 < row["done_ns"] - row["sent_ns"] < 40e9


@pytest.mark.parametrize(("backoff_ms", "least", "most"), [(None, 1, 4), (100, 8, 40)])
def test_how_often_a_connection_that_fails_is_tried_again(
    backoff_ms: float | None, least: int, most: int
) -> None:
    tried: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        async def script(clients: list[Client]) -> None:
            # connect() returns after two seconds. gRPC's backoff is 1 s, 1.6 s, 2.6 s ...
            connecting = asyncio.ensure_future(connect(clients))
            while not connecting.done():
                with suppress(TimeoutError):
                    connection, _ = await asyncio.to_thread(listener.accept)
                    connection.close()
                    tried.append(time.monotonic())

        target = f"127.0.0.1:{listener.getsockname()[1]}"
        run_clients(replace(SETTINGS, target=target, reconnect_backoff_ms=backoff_ms), 1, script)
    assert least <= len(tried) <= most


@pytest.mark.calm
def test_connecting_returns_soon_where_a_policy_connects_by_itself_later(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HASH_KEY_SWITCH, "true")
    took_s: list[float] = []

    async def script(clients: list[Client]) -> None:
        start_s = time.monotonic()
        await connect(clients)
        took_s.append(time.monotonic() - start_s)
        await calls(clients[0], 1)

    lazy = replace(SETTINGS, target=server.address, service_config=service_config("ring_hash"))
    (row,), _ = run_clients(lazy, 1, script)
    assert row["code"] == "OK"
    run_clients(replace(SETTINGS, target="127.0.0.1:1"), 1, script)
    assert took_s[0] < 1 < took_s[1] < 5
