"""Round robin: of one proxy worker, of several workers, weighted, and of connections."""

from collections import Counter
from contextlib import AsyncExitStack

import pytest
import uvloop
from behind_envoy import Answer, StartBalanced, calls, connection, on_one_connection, sessions
from chance import within_binomial

REPLICAS = {"replica-0", "replica-1", "replica-2"}


def over_connections(target: str, connections: int, rounds: int) -> list[Answer]:
    """Make `rounds` calls over each connection, one call at a time, alternating between connections."""

    async def make_calls() -> list[Answer]:
        async with AsyncExitStack() as stack:
            stubs = [await stack.enter_async_context(connection(target)) for _ in range(connections)]
            return [answer for _ in range(rounds) for stub in stubs for answer in await calls(stub, [()])]

    return uvloop.run(make_calls())


def is_round_robin(replicas: list[str]) -> bool:
    """Return whether any three successive replicas are different."""
    return all(set(replicas[start : start + 3]) == REPLICAS for start in range(len(replicas) - 2))


def test_one_worker_is_round_robin_over_all_connections(balanced: StartBalanced) -> None:
    # Exact: one worker has one order for all connections.
    answers = over_connections(balanced("round_robin").address, 12, 5)
    assert is_round_robin([answer.replica for answer in answers])


@pytest.mark.parametrize("workers", [2, 4])
def test_each_of_several_workers_is_round_robin_on_its_own(workers: int, balanced: StartBalanced) -> None:
    target = balanced("round_robin", proxy_workers=workers).address
    # A connection belongs to one worker, so the calls of one connection are exactly round robin ...
    single = on_one_connection(target, sessions(30))
    assert is_round_robin([answer.replica for answer in single])
    # ... and those of many are not: all 24 connections belong to one worker once in 2**23 runs.
    answers = over_connections(target, 24, 5)
    assert not is_round_robin([answer.replica for answer in answers])
    # The counts of each worker differ by at most 1.
    counts = Counter(answer.replica for answer in [*single, *answers])
    assert max(counts.values()) - min(counts.values()) <= workers


def test_random_is_not_round_robin(balanced: StartBalanced) -> None:
    answers = on_one_connection(balanced("random").address, sessions(600))
    counts = Counter(answer.replica for answer in answers)
    assert not is_round_robin([answer.replica for answer in answers])
    assert all(within_binomial(counts[name], 600, 1 / 3) for name in REPLICAS), counts


def test_weighted_round_robin_is_exact(balanced: StartBalanced) -> None:
    live = balanced("weighted", {"weights": [1, 2, 5]})
    answers = on_one_connection(live.address, sessions(800))
    counts = Counter(answer.replica for answer in answers)
    # Random picks would lie in this interval ...
    for name, share in (("replica-0", 1 / 8), ("replica-1", 2 / 8), ("replica-2", 5 / 8)):
        assert within_binomial(counts[name], 800, share), counts
    # ... but Envoy interleaves replicas by weight (earliest deadline first). The error is at most one call.
    assert all(
        abs(counts[name] - expected) <= 1
        for name, expected in (("replica-0", 100), ("replica-1", 200), ("replica-2", 500))
    ), counts


def test_l4_balances_connections_not_calls(balanced: StartBalanced) -> None:
    live = balanced("round_robin", route="envoy-l4")

    async def make_calls() -> list[list[Answer]]:
        found = []
        for _ in range(9):
            async with connection(live.address) as stub:
                found.append(await calls(stub, [()] * 5))
        return found

    replicas = []
    for answers in uvloop.run(make_calls()):
        # No exception: for a TCP proxy, all calls of a connection are bytes of one stream.
        assert len({answer.replica for answer in answers}) == 1
        replicas.append(answers[0].replica)
    assert is_round_robin(replicas)
    assert [live.names[line["upstream"]] for line in live.access_log(9)] == replicas
