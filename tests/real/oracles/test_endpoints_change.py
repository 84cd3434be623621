"""Where requests, sessions and connections go when endpoints drain, change weight, join or leave."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
import uvloop
from behind_envoy import (
    Answer,
    Balanced,
    Metadata,
    StartBalanced,
    call,
    connection,
    on_one_connection,
    sessions,
)
from replica_process import StartReplica

from services import lab_control_pb2 as lab

SLOW = ("--service-time", "constant:300")


def spread(live: Balanced, count: int) -> Counter[str]:
    return Counter(answer.replica for answer in on_one_connection(live.address, sessions(count)))


def cookie_of(answer: Answer) -> Metadata:
    return (("cookie", (answer.header("set-cookie") or "").partition(";")[0]),)


def drain(live: Balanced, replica: str) -> None:
    live.publish({**live.endpoints, replica: replace(live.endpoints[replica], draining=True)})
    live.await_state(replica, "draining")


@pytest.mark.parametrize("keep_draining", [False, True])
def test_sessions_of_a_draining_replica_stay_only_with_keep_draining(
    keep_draining: bool, balanced: StartBalanced
) -> None:
    live = balanced("sticky", {"keep_draining": keep_draining})
    (first,) = on_one_connection(live.address, sessions(1))
    drain(live, first.replica)
    old = on_one_connection(live.address, [cookie_of(first)] * 6)
    new = on_one_connection(live.address, sessions(6))
    assert {answer.code for answer in [*old, *new]} == {"OK"}
    others = set(live.servers) - {first.replica}
    assert {answer.replica for answer in new} == others
    assert {answer.replica for answer in old} == ({first.replica} if keep_draining else others)


def test_a_removed_replica_gets_no_new_calls_and_finishes_calls_in_flight(balanced: StartBalanced) -> None:
    live = balanced("round_robin", replica_options=[SLOW] * 2)

    async def make_calls() -> tuple[list[Answer], list[Answer]]:
        async with connection(live.address) as stub:
            begun = [asyncio.create_task(call(stub)) for _ in range(4)]
            while live.servers["replica-0"].address not in busy(live):
                await asyncio.sleep(0.005)
            live.publish({"replica-1": live.endpoints["replica-1"]})
            # It is healthy, and Envoy would keep it until it failed a health check.
            live.await_state("replica-0", "absent")
            later = [await call(stub) for _ in range(4)]
            return await asyncio.gather(*begun), later

    begun, later = uvloop.run(make_calls())
    assert Counter(answer.replica for answer in begun) == {"replica-0": 2, "replica-1": 2}
    assert Counter(answer.replica for answer in later) == {"replica-1": 4}


def busy(live: Balanced) -> set[str]:
    """Return the addresses of the replicas to which Envoy has sent requests."""
    hosts = live.envoy.admin.get_json("/clusters?format=json")["cluster_statuses"][0]["host_statuses"]
    sent = {
        f"127.0.0.1:{host['address']['socket_address']['port_value']}": int(stat.get("value", 0))
        for host in hosts
        for stat in host["stats"]
        if stat["name"] == "rq_total"
    }
    return {address for address, count in sent.items() if count}


def test_a_replica_that_joins_is_checked_first_and_then_gets_its_share(
    balanced: StartBalanced, start_replica: StartReplica
) -> None:
    live = balanced("round_robin")
    live.servers["replica-3"] = start_replica("--slots", "1000")
    live.servers["replica-3"].control.SetServing(lab.SetServingRequest(serving=False))
    live.publish(live.endpoints)
    live.await_state("replica-3", "unhealthy")
    assert spread(live, 30) == {"replica-0": 10, "replica-1": 10, "replica-2": 10}
    live.servers["replica-3"].control.SetServing(lab.SetServingRequest(serving=True))
    live.await_state("replica-3", "healthy")
    assert spread(live, 40) == dict.fromkeys(live.servers, 10)


def test_an_endpoint_weight_applies_until_it_is_removed(balanced: StartBalanced) -> None:
    live = balanced("round_robin")
    live.publish({**live.endpoints, "replica-1": replace(live.endpoints["replica-1"], weight=3)})
    address = live.servers["replica-1"].address
    live.envoy.await_true(lambda: live.envoy.admin.endpoint_weights()["videos"][address] == 3)
    assert spread(live, 50) == {"replica-0": 10, "replica-1": 30, "replica-2": 10}
    live.publish(live.endpoints)
    live.envoy.await_true(lambda: live.envoy.admin.endpoint_weights()["videos"][address] == 1)
    assert spread(live, 30) == dict.fromkeys(live.servers, 10)


def test_a_replica_that_joins_weighted_replicas_has_weight_one(
    balanced: StartBalanced, start_replica: StartReplica
) -> None:
    live = balanced("weighted", {"weights": [1, 2, 5]})
    live.servers["replica-3"] = start_replica("--slots", "1000")
    # The other replicas keep their weights when the first one is removed.
    live.publish({name: endpoint for name, endpoint in live.endpoints.items() if name != "replica-0"})
    live.await_state("replica-3", "healthy")
    assert spread(live, 80) == {"replica-1": 20, "replica-2": 50, "replica-3": 10}


def test_groups_keep_their_replicas_when_others_join_or_leave(
    balanced: StartBalanced, start_replica: StartReplica
) -> None:
    groups = {"blue": {"replicas": 2, "weight": 1}, "green": {"replicas": 1, "weight": 1}}
    live = balanced("target_groups", {"groups": groups})
    live.servers["replica-3"] = start_replica("--slots", "1000")
    live.publish({name: endpoint for name, endpoint in live.endpoints.items() if name != "replica-0"})
    live.await_state("replica-3", "healthy")
    weights = live.envoy.admin.endpoint_weights()
    assert {cluster: {live.names[address] for address in found} for cluster, found in weights.items()} == {
        "videos.blue": {"replica-1"},
        "videos.green": {"replica-2", "replica-3"},
    }


def test_calls_fail_while_there_are_no_endpoints(balanced: StartBalanced) -> None:
    live = balanced("round_robin")
    live.publish({})
    for replica in live.servers:
        live.await_state(replica, "absent")
    assert {answer.code for answer in on_one_connection(live.address, sessions(3))} == {"UNAVAILABLE"}
    assert {line["flags"] for line in live.access_log(3)} == {"UH"}
    live.publish(live.endpoints)
    for replica in live.servers:
        live.await_state(replica, "healthy")
    assert spread(live, 30) == dict.fromkeys(live.servers, 10)


def test_l4_connections_stay_on_a_draining_replica_and_new_connections_avoid_it(
    balanced: StartBalanced,
) -> None:
    live = balanced("round_robin", route="envoy-l4")

    async def call_around_the_drain() -> tuple[Answer, Answer]:
        async with connection(live.address) as stub:
            before = await call(stub)
            drain(live, before.replica)
            return before, await call(stub)

    before, after = uvloop.run(call_around_the_drain())
    assert (after.code, after.replica) == ("OK", before.replica)
    later = {on_one_connection(live.address, sessions(1))[0].replica for _ in range(6)}
    assert later == set(live.servers) - {before.replica}
