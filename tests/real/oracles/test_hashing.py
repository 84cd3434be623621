"""Consistent hashing: each key maps to one replica, for every hash policy and every source of the key."""

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import uvloop
from behind_envoy import (
    Answer,
    Balanced,
    Metadata,
    StartBalanced,
    call,
    calls,
    connection,
    on_one_connection,
    sessions,
)
from chance import within_binomial
from replica_process import ROOT

KEYS = 500
CLIENT = Path(__file__).with_name("ring_hash_client.py")


def replicas_of_keys(live: Balanced, metadata: list[Metadata]) -> list[str]:
    """Return the replica of each entry's key. Two connections must give the same replicas."""
    first, second = (
        [answer.replica for answer in on_one_connection(live.address, metadata, at_once=8)] for _ in range(2)
    )
    assert first == second
    return first


def picks_of_grpc(live: Balanced, size: int, keys: list[str]) -> dict[str, str]:
    """Return the replica that gRPC's ring_hash picks for each key."""
    command = [sys.executable, str(CLIENT), str(size), ",".join(live.names), *keys]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


# Both hash the key, and "host:port_N" for the ring's points, with xxHash64. gRPC limits its ring to 4096.
@pytest.mark.parametrize("size", [1024, 4096])
def test_the_rings_of_envoy_and_grpc_agree_on_every_key(size: int, balanced: StartBalanced) -> None:
    live = balanced("ring_hash", {"min_ring_size": size, "max_ring_size": size})
    behind_envoy = replicas_of_keys(live, sessions(KEYS))
    keys = [key for ((_, key),) in sessions(KEYS)]
    assert dict(zip(keys, behind_envoy, strict=True)) == picks_of_grpc(live, size, keys)


def test_maglev_spreads_keys_evenly_and_all_workers_agree(balanced: StartBalanced) -> None:
    live = balanced("maglev", proxy_workers=4)
    found = replicas_of_keys(live, sessions(KEYS))

    async def on_new_connections() -> list[str]:
        answers = []
        for metadata in sessions(40):
            async with connection(live.address) as stub:
                answers += await calls(stub, [metadata])
        return [answer.replica for answer in answers]

    # Forty more connections, so that every worker has several.
    assert uvloop.run(on_new_connections()) == found[:40]
    # The shares of the table (65,537 entries) differ by at most one entry. The keys are random.
    assert all(within_binomial(count, KEYS, 1 / 3, 0.9999) for count in Counter(found).values())


def test_without_a_key_any_replica_answers(balanced: StartBalanced) -> None:
    live = balanced("ring_hash")
    answers = on_one_connection(live.address, [()] * 60)
    assert len({answer.replica for answer in answers}) == 3


@pytest.mark.parametrize("policy", ["ring_hash", "maglev"])
def test_clients_with_one_source_address_get_one_replica_and_others_are_spread(
    policy: str, balanced: StartBalanced
) -> None:
    live = balanced(policy, {"key": "source_address"})
    # All calls come from 127.0.0.1, whatever their session.
    assert len(set(replicas_of_keys(live, sessions(30)))) == 1
    addresses: list[Metadata] = [(("x-forwarded-for", f"10.1.{number}.7"),) for number in range(60)]
    spread = Counter(replicas_of_keys(live, addresses))
    # If the address were ignored, one replica would get all. By chance 60 keys miss a replica once in 10**10.
    assert len(spread) == 3


def test_envoys_cookie_is_the_key_and_without_it_the_connection_is(balanced: StartBalanced) -> None:
    live = balanced("ring_hash", {"key": "cookie"})

    async def without_jar() -> list[Answer]:
        async with connection(live.address) as stub:
            return await calls(stub, [()] * 20)

    async def with_jar(cookie: str) -> str:
        async with connection(live.address) as stub:
            return (await call(stub, (("cookie", cookie),))).replica

    by_connection = [uvloop.run(without_jar()) for _ in range(12)]
    replicas = [{answer.replica for answer in answers} for answers in by_connection]
    assert all(len(found) == 1 for found in replicas)  # every answer of a connection sets the same cookie
    assert len(set.union(*replicas)) > 1
    for answers, found in zip(by_connection, replicas, strict=True):
        cookie = (answers[0].header("set-cookie") or "").partition(";")[0]
        assert cookie.startswith("LABHASH=")
        assert uvloop.run(with_jar(cookie)) in found


def test_bounded_load_spreads_a_hot_key(balanced: StartBalanced) -> None:
    slow = ("--service-time", "exponential:20")
    unbounded = balanced("maglev", replica_options=[slow] * 3)
    bounded = balanced("maglev", {"bounded_load_percent": 125}, replica_options=[slow] * 3)
    hot = [sessions(1)[0]] * 600
    assert len({answer.replica for answer in on_one_connection(unbounded.address, hot, at_once=30)}) == 1
    spread = Counter(answer.replica for answer in on_one_connection(bounded.address, hot, at_once=30))
    assert len(spread) == 3
    # The bound limits requests in flight. A replica with 13 of 30 (125 % of the mean, rounded up) still gets
    # one more, so its share is 14 of 30, with some tolerance for the start and the end.
    assert max(spread.values()) / 600 < 14 / 30 + 0.05


def test_l4_source_address_hash_maps_each_source_address_to_one_replica(balanced: StartBalanced) -> None:
    live = balanced("source_address_hash", route="envoy-l4")
    host, _, port = live.address.partition(":")
    sources = [f"127.0.1.{number}" for number in range(1, 41)]
    for source in [*sources, *sources]:
        socket.create_connection((host, int(port)), timeout=5, source_address=(source, 0)).close()
    found: dict[str, set[str]] = {}
    for line in live.access_log(80):
        found.setdefault(line["peer"].partition(":")[0], set()).add(line["upstream"])
    assert sorted(found) == sorted(sources)
    assert all(len(upstreams) == 1 for upstreams in found.values())
    assert len(set.union(*found.values())) == 3  # by chance a replica is missed once in 10**6
