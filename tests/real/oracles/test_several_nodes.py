"""Several nodes of one proxy over the same replicas: what each of them knows, and what it does not."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop
from behind_envoy import Answer, Balanced, calls, connection, on_one_connection, sessions, start_balanced
from envoy_process import arm_of, nodes_of
from replica_process import StartReplica

from harness.fields import proxy_names
from harness.proxy.render import write_nodes
from services import video_service_pb2 as pb

REPLICAS = ("replica-0", "replica-1", "replica-2")
StartNodes = Callable[..., list[Balanced]]


@pytest.fixture
def nodes(tmp_path: Path, start_replica: StartReplica) -> Iterator[StartNodes]:
    """Starts three replicas and nodes with one policy over them, all or the first ones; returns the nodes."""
    servers = {name: start_replica("--slots", "1000") for name in REPLICAS}
    running: list[Balanced] = []

    def start(
        count: int,
        policy: str,
        options: Mapping[str, object] | None = None,
        started: int | None = None,
        **settings: object,
    ) -> list[Balanced]:
        arm = arm_of("envoy", policy, options, proxies=count, **settings)
        new = []
        for node in proxy_names(count)[:started]:
            folder = tmp_path / f"{policy}-{node}"
            folder.mkdir()
            new.append(start_balanced(folder, arm, servers, node))
            running.append(new[-1])
        return new

    yield start
    for one in running:
        one.envoy.stop()


def over_nodes(nodes: Sequence[Balanced], rounds: int) -> list[Answer]:
    """Make `rounds` calls over each node, one call at a time, alternating between the nodes."""

    async def make_calls() -> list[Answer]:
        async with AsyncExitStack() as stack:
            stubs = [await stack.enter_async_context(connection(one.address)) for one in nodes]
            return [answer for _ in range(rounds) for stub in stubs for answer in await calls(stub, [()])]

    return uvloop.run(make_calls())


def test_round_robin_is_even_for_each_node(nodes: StartNodes) -> None:
    started = nodes(3, "round_robin")
    answers = over_nodes(started, 20)
    for place in range(3):
        replicas = [answer.replica for answer in answers[place::3]]
        # Exact: any three successive calls over one node go to three replicas.
        assert all(len(set(replicas[at : at + 3])) == 3 for at in range(len(replicas) - 2)), replicas
    # Each node is at most one call off, so three nodes are at most three calls off.
    counts = Counter(answer.replica for answer in answers)
    assert max(counts.values()) - min(counts.values()) <= 3


@pytest.mark.parametrize("cross_zone", [True, False])
def test_without_cross_zone_a_node_sends_to_its_own_zone_alone(nodes: StartNodes, cross_zone: bool) -> None:
    started = nodes(2, "round_robin", zones={"a": 1, "b": 2}, cross_zone=cross_zone)
    answers = over_nodes(started, 30)
    of_a, of_b = (Counter(answer.replica for answer in answers[place::2]) for place in range(2))
    if cross_zone:  # exact: each node takes turns of all three
        assert of_a == of_b == dict.fromkeys(REPLICAS, 10)
    else:  # exact: the one replica of its zone has half of all calls, and the other two share the other half
        assert of_a == {"replica-0": 30}
        assert of_b == {"replica-1": 15, "replica-2": 15}


def test_a_sticky_cookie_of_one_node_is_honoured_by_another(nodes: StartNodes) -> None:
    first, second = nodes(2, "sticky")
    given = on_one_connection(first.address, sessions(12))
    cookies = [str(answer.header("set-cookie")).partition(";")[0] for answer in given]
    again = on_one_connection(second.address, [(("cookie", cookie),) for cookie in cookies])
    # Exact: the cookie names the replica's address, and all nodes have the same replicas.
    assert [answer.replica for answer in again] == [answer.replica for answer in given]
    assert {answer.replica for answer in again} == set(REPLICAS)
    # A node that accepts a cookie gives no new one.
    assert [answer.header("set-cookie") for answer in again] == [None] * len(cookies)


def test_least_request_of_one_node_does_not_see_the_requests_of_another(nodes: StartNodes) -> None:
    """A replica is busy with requests that came over the first node."""
    first, second = nodes(2, "least_request", {"full_scan": True})

    async def make_calls() -> tuple[str, list[Counter[str]]]:
        async with AsyncExitStack() as stack:
            stubs = [await stack.enter_async_context(connection(one.address)) for one in (first, second)]
            stream: Any = stubs[0].GetVideo()
            stack.callback(stream.cancel)
            await stream.write(pb.GetVideoRequest(id="sample-1"))
            await stream.read()
            busy = dict(await stream.initial_metadata())["x-lab-replica"]
            answers = [await calls(stub, sessions(900)) for stub in stubs]
            return busy, [Counter(answer.replica for answer in of_node) for of_node in answers]

    busy, (of_first, of_second) = uvloop.run(make_calls())
    assert of_first[busy] == 0  # exact: for this node the other two are idle
    # For the second node all three are idle, and it draws one: 300 calls, four standard deviations are 57.
    assert of_second[busy] == pytest.approx(300, abs=57)


# Options of the policies that Envoy's zone-aware routing is part of: one for each template.
ZONE_AWARE: dict[str, dict[str, Any]] = {
    **{"round_robin": {}, "least_request": {}, "random": {}, "sticky": {"first_pick": "random"}},
}


def test_zone_aware_routing_sends_to_other_zones_what_is_too_much_for_its_own(nodes: StartNodes) -> None:
    """Three zones with a replica each. Of four nodes, zone a has two and the others have one each.

    Envoy's documentation, "Zone aware routing", with the shares of its load_balancer_impl.cc.
    """
    zones = {"zones": {"a": 1, "b": 1, "c": 1}, "cross_zone": "zone_aware"}
    for policy, options in ZONE_AWARE.items():
        first, second = nodes(4, policy, options, started=2, **zones)
        of_a = Counter(one.replica for one in on_one_connection(first.address, sessions(300)))
        # Zone a has half of the nodes and a third of the replicas, so it keeps 2/3. The other zones have the
        # same room, 1/3 - 1/4 each. Four standard deviations of 300 draws are 33 and 26.
        assert of_a["replica-0"] == pytest.approx(200, abs=33), policy
        assert of_a["replica-1"] == pytest.approx(50, abs=26), policy
        assert of_a["replica-2"] == pytest.approx(50, abs=26), policy
        # Exact: zone b has a quarter of the nodes and a third of the replicas.
        of_b = Counter(one.replica for one in on_one_connection(second.address, sessions(60)))
        assert of_b == {"replica-1": 60}, policy
    # The fourth node goes away, and the first one is told. Exact: each zone then has a third of both.
    left = dict(list(nodes_of(first.arm).items())[:3])
    write_nodes(first.envoy.files, left, first.arm)
    first.envoy.await_true(lambda: len(first.envoy.admin.zones_of_nodes()) == 3)
    answers = on_one_connection(first.address, sessions(60))
    assert Counter(answer.replica for answer in answers) == {"replica-0": 60}
