"""Turns: of one proxy worker, of several, weighted, and of connections."""

from collections import Counter
from contextlib import AsyncExitStack

import pytest
import uvloop
from behind_envoy import Answer, StartBalanced, calls, connection, on_one_connection, sessions
from chance import within_binomial

REPLICAS = {"replica-0", "replica-1", "replica-2"}


def over_connections(target: str, connections: int, rounds: int) -> list[Answer]:
    """`rounds` times one call over each of the connections, one call at a time."""

    async def perform() -> list[Answer]:
        async with AsyncExitStack() as stack:
            stubs = [await stack.enter_async_context(connection(target)) for _ in range(connections)]
            return [answer for _ in range(rounds) for stub in stubs for answer in await calls(stub, [()])]

    return uvloop.run(perform())


def in_turn(replicas: list[str]) -> bool:
    """Whether any three neighbours are three different replicas."""
    return all(set(replicas[start : start + 3]) == REPLICAS for start in range(len(replicas) - 2))


def test_one_worker_takes_turns_over_all_connections(balanced: StartBalanced) -> None:
    # Exact: one worker has one order, whoever calls.
    answers = over_connections(balanced("round_robin").address, 12, 5)
    assert in_turn([answer.replica for answer in answers])


@pytest.mark.parametrize("workers", [2, 4])
def test_several_workers_take_turns_each_by_itself(workers: int, balanced: StartBalanced) -> None:
    target = balanced("round_robin", proxy_workers=workers).address
    # A connection belongs to one worker for life, so the calls of one are exactly in turn ...
    alone = on_one_connection(target, sessions(30))
    assert in_turn([answer.replica for answer in alone])
    # ... and those of many are not: with 24 connections all on one worker once in 2**23 runs.
    answers = over_connections(target, 24, 5)
    assert not in_turn([answer.replica for answer in answers])
    # What is guaranteed of all together: each worker's own counts differ by at most 1.
    counts = Counter(answer.replica for answer in [*alone, *answers])
    assert max(counts.values()) - min(counts.values()) <= workers


def test_random_is_not_in_turn(balanced: StartBalanced) -> None:
    answers = on_one_connection(balanced("random").address, sessions(600))
    counts = Counter(answer.replica for answer in answers)
    assert not in_turn([answer.replica for answer in answers])
    assert all(within_binomial(counts[name], 600, 1 / 3) for name in REPLICAS), counts


def test_weighted_turns_are_exact(balanced: StartBalanced) -> None:
    live = balanced("weighted", {"weights": [1, 2, 5]})
    answers = on_one_connection(live.address, sessions(800))
    counts = Counter(answer.replica for answer in answers)
    # Drawn by chance they would lie within this interval ...
    for name, share in (("replica-0", 1 / 8), ("replica-1", 2 / 8), ("replica-2", 5 / 8)):
        assert within_binomial(counts[name], 800, share), counts
    # ... but Envoy interleaves them by weight (earliest deadline first), and is off by less than one turn.
    assert all(
        abs(counts[name] - turns) <= 1
        for name, turns in (("replica-0", 100), ("replica-1", 200), ("replica-2", 500))
    ), counts


def test_l4_connections_are_in_turn_and_calls_are_not(balanced: StartBalanced) -> None:
    live = balanced("round_robin", route="envoy-l4")

    async def perform() -> list[list[Answer]]:
        found = []
        for _ in range(9):
            async with connection(live.address) as stub:
                found.append(await calls(stub, [()] * 5))
        return found

    homes = []
    for answers in uvloop.run(perform()):
        # 100 %: to a TCP proxy, a connection's calls are bytes of one stream.
        assert len({answer.replica for answer in answers}) == 1
        homes.append(answers[0].replica)
    assert in_turn(homes)
    assert [live.names[line["upstream"]] for line in live.access_log(9)] == homes
