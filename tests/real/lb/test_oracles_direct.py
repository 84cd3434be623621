"""Client-side policies: each result is known beforehand, with a tolerance.

Each test has a control with another configuration, whose result must be different.
"""

import asyncio
import socket
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace

import pytest
from clients import HASH_KEY_SWITCH, SETTINGS, calls, connect, run_clients
from replica_process import Server, StartReplica

from lb.client import Client
from lb.policies import ClientRetries, service_config
from lb.settings import ClientSettings
from services import lab_control_pb2 as lab


def settings_for(servers: list[Server], policy: str, **options: object) -> ClientSettings:
    target = ",".join(server.address for server in servers)
    return replace(SETTINGS, target=target, service_config=service_config(policy, options))


def rows_by_id(server: Server) -> dict[int, dict[str, str]]:
    return {int(row["request_id"]): row for row in server.ledger()}


# weighted_round_robin


@pytest.fixture
def reporting(start_replica: StartReplica) -> list[Server]:
    """Four replicas that always report a load of 0.2, 0.4, 0.8 and 0.8."""
    return [start_replica(orca=float(load)) for load in ("0.2", "0.4", "0.8", "0.8")]


def weighted_shares(settings: ClientSettings) -> list[float]:
    """Return each replica's share of 1,600 calls that follow its first report."""

    async def script(clients: list[Client]) -> None:
        await connect(clients)
        await calls(clients[0], 40)
        await asyncio.sleep(0.4)  # more than one update of the weights
        await calls(clients[0], 1600)

    rows, _ = run_clients(settings, 1, script)
    assert {row["code"] for row in rows} == {"OK"}
    spread = Counter(row["replica"] for row in rows[40:])
    return [spread[f"replica-{number}"] / 1600 for number in range(4)]


def test_orca_reports_weigh_half_a_quarter_an_eighth_an_eighth(reporting: list[Server]) -> None:
    settings = settings_for(reporting, "weighted_round_robin", blackout_ms=0, weight_update_ms=100)
    # gRFC A58: weight = rps / utilization. Here all report the same rate.
    assert weighted_shares(settings) == pytest.approx([1 / 2, 1 / 4, 1 / 8, 1 / 8], rel=0.02)


def test_within_the_blackout_reports_do_not_count(reporting: list[Server]) -> None:
    settings = settings_for(reporting, "weighted_round_robin", weight_update_ms=100)
    assert weighted_shares(settings) == pytest.approx([1 / 4] * 4, rel=0.02)


# streams


@pytest.mark.parametrize("method", ["ListVideos", "GetVideos", "GetVideo"])
def test_every_message_of_a_stream_is_of_one_replica(method: str, start_replica: StartReplica) -> None:
    servers = [start_replica() for _ in range(3)]
    settings = replace(settings_for(servers, "round_robin"), messages_per_stream=50)

    async def script(clients: list[Client]) -> None:
        await connect(clients)
        await calls(clients[0], 24, method)

    rows, messages = run_clients(settings, 1, script)
    assert {row["code"] for row in rows} == {"OK"}
    said = defaultdict(list)
    for message in messages:
        said[message["request_id"]].append(message["replica"])
    ledgers = {f"replica-{number}": rows_by_id(server) for number, server in enumerate(servers)}
    for row in rows:
        # The messages, the call's headers and the replicas' ledgers name the same replica.
        assert said[row["request_id"]] == [row["replica"]] * 50
        assert [name for name, ledger in ledgers.items() if row["request_id"] in ledger] == [row["replica"]]
        sent = int(ledgers[row["replica"]][row["request_id"]]["messages"])
        assert sent == (1 if method == "GetVideos" else 50)
    assert len({row["replica"] for row in rows}) == 3


# ring_hash


@pytest.fixture
def _keys_from_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HASH_KEY_SWITCH, "true")


def keys_homes(settings: ClientSettings) -> dict[int, set[str]]:
    """Return the replicas of 90 sessions. Each has three calls with a call of another session in between."""

    async def script(clients: list[Client]) -> None:
        await connect(clients)
        for _ in range(3):
            for client in clients:
                await calls(client, 1)

    rows, _ = run_clients(settings, 90, script)
    assert {row["code"] for row in rows} == {"OK"}
    homes = defaultdict(set)
    for row in rows:
        homes[row["client"]].add(row["replica"])
    return homes


@pytest.mark.usefixtures("_keys_from_headers")
def test_a_key_always_maps_to_the_same_replica(start_replica: StartReplica) -> None:
    servers = [start_replica() for _ in range(3)]
    settings = settings_for(servers, "ring_hash")
    homes = keys_homes(settings)
    assert {len(replicas) for replicas in homes.values()} == {1}
    assert len(set.union(*homes.values())) == 3
    assert keys_homes(replace(settings, key_prefix="again")) == homes
    turns = keys_homes(replace(settings_for(servers, "round_robin"), key_prefix="turns"))
    assert {len(replicas) for replicas in turns.values()} != {1}


@pytest.mark.usefixtures("_keys_from_headers")
def test_a_new_session_is_a_new_key(start_replica: StartReplica) -> None:
    servers = [start_replica() for _ in range(3)]
    settings = replace(settings_for(servers, "ring_hash"), session_lifetime_s=0.001)

    async def script(clients: list[Client]) -> None:
        for number in range(40):
            await clients[0].call("AddVideo", number * 1_000_000)

    rows, _ = run_clients(settings, 1, script)
    assert [row["session"] for row in rows] == list(range(40))
    assert len({row["replica"] for row in rows}) == 3


# pick_first


@pytest.mark.parametrize(("shuffle", "used"), [(True, 4), (False, 1)])
def test_pick_first_shuffles_by_client(shuffle: bool, used: int, start_replica: StartReplica) -> None:
    servers = [start_replica() for _ in range(4)]

    async def script(clients: list[Client]) -> None:
        await connect(clients)
        for client in clients:
            await calls(client, 2)

    # By chance all forty use three replicas only once in 25,000 runs.
    rows, _ = run_clients(settings_for(servers, "pick_first", shuffle=shuffle), 40, script)
    assert len({row["replica"] for row in rows}) == used
    assert len({(row["client"], row["replica"]) for row in rows}) == 40


# retries, wait-for-ready, health checks


@pytest.mark.parametrize("retries", [ClientRetries(attempts=2, backoff_ms=5), None])
def test_retries_hide_failures_and_cost_attempts(
    retries: ClientRetries | None, start_replica: StartReplica
) -> None:
    servers = [start_replica(fail_share=0.5), start_replica()]
    settings = replace(
        settings_for(servers, "round_robin"), service_config=service_config("round_robin", retries=retries)
    )

    async def script(clients: list[Client]) -> None:
        await connect(clients)
        await asyncio.sleep(0.5)  # both connections are ready: attempts of one call go to both replicas
        await calls(clients[0], 200)

    rows, _ = run_clients(settings, 1, script)
    errors = sum(row["code"] != "OK" for row in rows)
    ledgers = [server.ledger() for server in servers]
    failed = sum(row["code"] == "UNAVAILABLE" for row in ledgers[0])
    assert failed > 30
    assert errors == (failed if retries is None else 0)
    assert sum(map(len, ledgers)) == 200 + (0 if retries is None else failed)


@pytest.fixture
def late(start_replica: StartReplica) -> Iterator[str]:
    """Return an address at which a replica starts to serve in half a second."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*probe.getsockname())
    starter = threading.Timer(0.5, start_replica, ("--listen", address))
    starter.start()
    yield address
    starter.join()


@pytest.mark.parametrize(("wait_for_ready", "code"), [(True, "OK"), (False, "UNAVAILABLE")])
def test_wait_for_ready_waits_for_a_replica(wait_for_ready: bool, code: str, late: str) -> None:
    config = service_config("round_robin", wait_for_ready=wait_for_ready)
    settings = replace(SETTINGS, target=late, service_config=config, deadline_s=10)
    (row,), _ = run_clients(settings, 1, lambda clients: calls(clients[0], 1))
    assert row["code"] == code


def test_wait_for_ready_ends_with_the_deadline() -> None:
    config = service_config("round_robin", wait_for_ready=True)
    settings = replace(SETTINGS, target="127.0.0.1:1", service_config=config, deadline_s=0.3)
    (row,), _ = run_clients(settings, 1, lambda clients: calls(clients[0], 1))
    assert row["code"] == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize("health_check", [True, False])
def test_health_checks_exclude_replicas_that_do_not_serve(
    health_check: bool, start_replica: StartReplica
) -> None:
    servers = [start_replica() for _ in range(2)]
    servers[0].control.SetServing(lab.SetServingRequest(serving=False))
    settings = settings_for(servers, "round_robin")
    config = service_config("round_robin", health_check=health_check)

    async def script(clients: list[Client]) -> None:
        await connect(clients)
        await asyncio.sleep(0.5)  # both connections are open, and clients that check health know who serves
        await calls(clients[0], 20)

    rows, _ = run_clients(replace(settings, service_config=config), 1, script)
    spread = Counter(row["replica"] for row in rows)
    assert spread == ({"replica-1": 20} if health_check else {"replica-0": 10, "replica-1": 10})
