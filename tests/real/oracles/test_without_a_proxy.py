"""Clients that follow a control plane (route xds): each policy, and endpoints that come, drain and go."""

import asyncio
import base64
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from http.cookies import SimpleCookie
from pathlib import Path

import pytest
import uvloop
from behind_envoy import Answer, call, on_one_connection, session, start_balanced
from chance import within_binomial
from clients import SETTINGS, calls
from envoy.extensions.load_balancing_policies.least_request.v3.least_request_pb2 import LeastRequest
from envoy_process import arm_of
from proxyless import Proxyless, Rows
from replica_process import Server, StartReplica, document, start_server

from harness.errors import LabError
from harness.proxy.xds import policy_resources
from lb.channel import open_channel
from lb.client import Client
from services.video_service_pb2_grpc import VideoServiceStub

Start = Callable[..., Proxyless]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """Three replicas. With so many slots no call waits, so that only the policy decides."""
    folder = tmp_path_factory.mktemp("replicas")
    started = [start_server(folder, number, "--slots", "1000") for number in range(3)]
    yield {f"replica-{number}": server for number, server in enumerate(started)}
    for server in started:
        server.channel.close()
        server.process.kill()
        server.process.communicate()


@pytest.fixture
def proxyless(tmp_path: Path, servers: dict[str, Server], start_replica: StartReplica) -> Iterator[Start]:
    """Starts a control plane. `replicas`: options of each, instead of `servers`; `settings`: of the arm."""
    started: list[Proxyless] = []

    def start(policy: str, replicas: Sequence[Sequence[str]] = (), **settings: object) -> Proxyless:
        own = {f"replica-{number}": start_replica(*one) for number, one in enumerate(replicas)}
        started.append(Proxyless(tmp_path, arm_of("xds", policy, **settings), own or servers))
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


def test_the_ring_is_that_of_envoy(proxyless: Start, servers: dict[str, Server], tmp_path: Path) -> None:
    # Both hash the key, and "host:port_N" for the ring's points, with xxHash64: no exception.
    live = proxyless("ring_hash")
    found = by_client(live.run(60, lambda clients: asyncio.gather(*(calls(one, 3) for one in clients))))
    envoy = start_balanced(tmp_path, arm_of("envoy", "ring_hash"), servers)
    behind = on_one_connection(envoy.address, [session(number) for number in range(60)])
    envoy.envoy.stop()
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

    async def one_call() -> Answer:
        channel = open_channel(replace(SETTINGS, target=live.target, service_config=None))
        async with channel:
            return await call(VideoServiceStub(channel))

    answer = uvloop.run(one_call())
    morsel = SimpleCookie(answer.header("set-cookie"))["LABALB"]
    assert (morsel["max-age"], morsel["path"]) == ("7", "/")
    named = base64.b64decode(morsel.value).decode()
    assert named.partition(";")[0] == live.servers[answer.replica].address


def test_a_new_endpoint_joins_the_turns_and_takes_no_session(proxyless: Start) -> None:
    for policy in ("round_robin", "sticky"):
        live = proxyless(policy)
        joining = {"replica_2": None}
        live.publish(**joining)

        async def script(clients: list[Client], live: Proxyless = live) -> None:
            await sixty_each(clients)
            live.publish()
            await live.accepted()
            await live.connected()
            await sixty_each(clients)

        for replicas in by_client(live.run(3, script, cookie_jar=True)).values():
            assert "replica-2" not in replicas[:60]
            after = Counter(replicas[60:])
            expected = dict.fromkeys(live.servers, 20) if policy == "round_robin" else {replicas[0]: 60}
            assert after == expected


@pytest.mark.parametrize("keep", [False, True])
def test_sessions_leave_a_draining_replica_unless_they_are_kept(keep: bool, proxyless: Start) -> None:
    live = proxyless("sticky", options={"keep_draining": keep})

    async def script(clients: list[Client]) -> None:
        await sixty_each(clients)
        live.publish(replica_0=live.draining("replica-0"))
        await live.accepted()
        if not keep:
            await live.gone()
        await sixty_each(clients)

    moved = 0
    for replicas in by_client(live.run(12, script, cookie_jar=True)).values():
        home, after = replicas[0], set(replicas[60:])
        moves = home == "replica-0" and not keep
        moved += moves
        assert len(after) == 1
        assert (home not in after) == moves
    assert keep or moved


def test_clients_go_on_without_the_control_plane(proxyless: Start) -> None:
    live = proxyless("round_robin")

    async def script(clients: list[Client]) -> None:
        live.control.close()
        await sixty_each(clients)

    for replicas in by_client(live.run(2, script)).values():
        assert Counter(replicas) == dict.fromkeys(live.servers, 20)


def test_an_endpoint_that_leaves_gets_nothing_and_no_call_fails(proxyless: Start) -> None:
    live = proxyless("round_robin")

    async def script(clients: list[Client]) -> None:
        under_way = [asyncio.create_task(calls(client, 60)) for client in clients]
        await asyncio.sleep(0.02)
        live.publish(replica_0=None)
        await asyncio.gather(*under_way)
        await live.accepted()
        await live.gone()
        await sixty_each(clients)

    for replicas in by_client(live.run(4, script)).values():
        assert set(replicas[60:]) == {"replica-1", "replica-2"}


def test_clients_share_by_utilisation(proxyless: Start) -> None:
    # Weight = rate / utilisation, and all report the same rate: 1/.2 : 1/.4 : 1/.8, that is 4 : 2 : 1.
    reports = [("--settings", document(orca=cpu, slots=1000)) for cpu in (0.2, 0.4, 0.8)]
    live = proxyless("weighted_round_robin", reports, options={"blackout_ms": 100, "weight_update_ms": 100})

    async def script(clients: list[Client]) -> None:
        (client,) = clients
        until_s = time.monotonic() + 1.0
        while time.monotonic() < until_s:  # for longer than the blackout
            await calls(client, 21)
            await asyncio.sleep(0.05)
        await calls(client, 700)

    (replicas,) = by_client(live.run(1, script)).values()
    shares = Counter(replicas[-700:])
    # The turns are interleaved by weight, so only the start of the rounds is random.
    assert {name: count / 700 for name, count in shares.items()} == pytest.approx(
        {"replica-0": 4 / 7, "replica-1": 2 / 7, "replica-2": 1 / 7}, rel=0.03
    )


def test_an_endpoint_whose_calls_fail_is_ejected(proxyless: Start) -> None:
    failing = ("--settings", document(slots=1000, fail_share=1.0, fail_code="UNAVAILABLE"))
    options = {"failing_percent": 50, "min_calls": 5, "interval_ms": 200, "max_ejection_percent": 50}
    live = proxyless("outlier_detection", [failing, (), ()], options=options)

    async def script(clients: list[Client]) -> None:
        await sixty_each(clients)
        await asyncio.sleep(0.5)  # for longer than an interval
        await sixty_each(clients)

    rows = live.run(2, script)
    for client in range(2):
        own = [row["code"] for row in rows if row["client"] == client]  # in the order of its calls
        # A third, until the client has looked: on a slow machine that is before the sixtieth call.
        assert 5 <= own[:60].count("UNAVAILABLE") <= 20
        assert set(own[60:]) == {"OK"}


def test_localities_share_by_weight(proxyless: Start) -> None:
    zones = {"near": {"replicas": 2, "weight": 80}, "far": {"replicas": 1, "weight": 20}}
    live = proxyless("localities", options={"localities": zones})
    (replicas,) = by_client(live.run(1, lambda clients: calls(clients[0], 500))).values()
    shares = Counter(replicas)
    assert within_binomial(shares["replica-2"], 500, 0.2)
    assert abs(shares["replica-0"] - shares["replica-1"]) <= 1  # turns within a locality


def test_what_a_client_refuses_is_said(proxyless: Start) -> None:
    live = proxyless("round_robin")
    cluster = policy_resources(live.arm)["cluster"]
    config = cluster.load_balancing_policy.policies[0].typed_extension_config.typed_config
    config.Pack(LeastRequest())
    live.control._publish({"cluster": cluster})
    with pytest.raises(LabError, match=r"a client refuses the cluster: .*no supported load balancing policy"):
        live.run(1, sixty_each)


def test_what_is_in_force_is_compared_with_the_plan(proxyless: Start) -> None:
    live = proxyless("ring_hash")
    live.arm = arm_of("xds", "round_robin")  # planned; the control plane tells of another
    with pytest.raises(LabError, match="the clients is not as planned: extensions of round_robin"):
        live.run(1, sixty_each)
    live.files.of("endpoints").write_text("{}")
    with pytest.raises(LabError, match=r"the clients is not as planned: endpoints\.cluster_name"):
        live.run(1, sixty_each)
