"""Keys: one key, one replica, whatever hashes it and wherever it comes from."""

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


def homes(live: Balanced, metadata: list[Metadata]) -> list[str]:
    """The replica of each entry's key; every key is called on two connections and must stay."""
    first, second = (
        [answer.replica for answer in on_one_connection(live.address, metadata, at_once=8)] for _ in range(2)
    )
    assert first == second
    return first


def ring_of_grpc(live: Balanced, size: int, keys: list[str]) -> dict[str, str]:
    """What gRPC's own ring_hash picks for each key."""
    command = [sys.executable, str(CLIENT), str(size), ",".join(live.names), *keys]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


# Both: xxHash64 of the key, and of "host:port_N" for the points. gRPC caps its rings at 4096 points.
@pytest.mark.parametrize("size", [1024, 4096])
def test_both_rings_agree_on_every_key(size: int, balanced: StartBalanced) -> None:
    live = balanced("ring_hash", {"min_ring_size": size, "max_ring_size": size})
    behind_envoy = homes(live, sessions(KEYS))
    keys = [key for ((_, key),) in sessions(KEYS)]
    assert dict(zip(keys, behind_envoy, strict=True)) == ring_of_grpc(live, size, keys)


def test_maglev_shares_its_keys_evenly_and_workers_agree(balanced: StartBalanced) -> None:
    live = balanced("maglev", proxy_workers=4)
    found = homes(live, sessions(KEYS))

    async def elsewhere() -> list[str]:
        answers = []
        for metadata in sessions(40):
            async with connection(live.address) as stub:
                answers += await calls(stub, [metadata])
        return [answer.replica for answer in answers]

    # Forty more connections, so that every worker has some.
    assert uvloop.run(elsewhere()) == found[:40]
    # The table's shares are equal within 1 in 65,537 / 3; which keys there are is chance.
    assert all(within_binomial(count, KEYS, 1 / 3, 0.9999) for count in Counter(found).values())


def test_without_a_key_any_replica_answers(balanced: StartBalanced) -> None:
    live = balanced("ring_hash")
    answers = on_one_connection(live.address, [()] * 60)
    assert len({answer.replica for answer in answers}) == 3


@pytest.mark.parametrize("policy", ["ring_hash", "maglev"])
def test_one_source_address_is_one_replica_and_own_ones_are_many(
    policy: str, balanced: StartBalanced
) -> None:
    live = balanced(policy, {"key": "source_address"})
    # All from 127.0.0.1, whatever their sessions.
    assert len(set(homes(live, sessions(30)))) == 1
    addresses: list[Metadata] = [(("x-forwarded-for", f"10.1.{number}.7"),) for number in range(60)]
    spread = Counter(homes(live, addresses))
    # An address that says nothing would leave one replica; by chance 60 keys miss one once in 10**10.
    assert len(spread) == 3


def test_envoys_cookie_is_a_key_and_until_it_comes_back_the_connection_is(balanced: StartBalanced) -> None:
    live = balanced("ring_hash", {"key": "cookie"})

    async def without_jar() -> list[Answer]:
        async with connection(live.address) as stub:
            return await calls(stub, [()] * 20)

    async def with_jar(cookie: str) -> str:
        async with connection(live.address) as stub:
            return (await call(stub, (("cookie", cookie),))).replica

    sticky_by_accident = [uvloop.run(without_jar()) for _ in range(12)]
    accident_homes = [{answer.replica for answer in answers} for answers in sticky_by_accident]
    assert all(len(home) == 1 for home in accident_homes)  # each answer brought the same cookie
    assert len(set.union(*accident_homes)) > 1
    for answers, home in zip(sticky_by_accident, accident_homes, strict=True):
        cookie = (answers[0].header("set-cookie") or "").partition(";")[0]
        assert cookie.startswith("LABHASH=")
        assert uvloop.run(with_jar(cookie)) in home


def test_bounded_load_spreads_a_hot_key(balanced: StartBalanced) -> None:
    slow = ("--service-time", "exponential:20")
    free = balanced("maglev", replica_options=[slow] * 3)
    bounded = balanced("maglev", {"bounded_load_percent": 125}, replica_options=[slow] * 3)
    hot = [sessions(1)[0]] * 600
    assert len({answer.replica for answer in on_one_connection(free.address, hot, at_once=30)}) == 1
    spread = Counter(answer.replica for answer in on_one_connection(bounded.address, hot, at_once=30))
    assert len(spread) == 3
    # The bound is on requests under way: a replica with 13 of 30 (125 % of the mean, rounded up) still gets
    # one more. So 14 of 30 of the answers, and room for the start and the end.
    assert max(spread.values()) / 600 < 14 / 30 + 0.05


def test_l4_source_address_hash(balanced: StartBalanced) -> None:
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
    assert len(set.union(*found.values())) == 3  # missed by chance once in 10**6
