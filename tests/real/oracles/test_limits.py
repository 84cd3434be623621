"""Slow start, limits of requests and retries, and idle time-outs."""

import asyncio
import time
from collections import Counter

import pytest
import uvloop
from behind_envoy import Answer, Balanced, StartBalanced, call, connection, on_one_connection, sessions
from replica_process import StartReplica

from services import lab_control_pb2 as lab

SLOW = ("--service-time", "constant:1000")
SLOW_START_S = 2.0


@pytest.mark.calm
@pytest.mark.parametrize("policy", ["round_robin", "least_request"])
def test_slow_start_raises_the_share_of_a_new_replica_slowly(
    policy: str, balanced: StartBalanced, start_replica: StartReplica
) -> None:
    live = balanced(policy, {"slow_start_s": SLOW_START_S})
    time.sleep(SLOW_START_S)  # the first three replicas are new, too
    live.servers["replica-3"] = start_replica("--slots", "1000")
    live.publish(live.endpoints)
    live.await_state("replica-3", "healthy")
    first = share_of_new_replica(live)
    assert 0 < first < 0.2
    live.envoy.await_true(lambda: share_of_new_replica(live) >= 0.24)


def share_of_new_replica(live: Balanced) -> float:
    # So few calls that the share does not grow much meanwhile.
    answers = on_one_connection(live.address, sessions(100))
    return Counter(answer.replica for answer in answers)["replica-3"] / len(answers)


def test_requests_above_the_limit_are_refused(balanced: StartBalanced) -> None:
    live = balanced("round_robin", replica_options=[SLOW] * 2, circuit_breaker={"max_requests": 4})
    answers = on_one_connection(live.address, sessions(12), at_once=12)
    assert Counter(answer.code for answer in answers) == {"OK": 4, "UNAVAILABLE": 8}
    assert Counter(line["flags"] for line in live.access_log(12)) == {"-": 4, "UO": 8}
    assert live.stat("upstream_rq_active_overflow") == 8


@pytest.mark.alone
@pytest.mark.parametrize("budget_percent", [None, 10])
def test_a_budget_bounds_the_retries(budget_percent: float | None, balanced: StartBalanced) -> None:
    retries = {"by": "proxy", "attempts": 3, "backoff_ms": 200, "budget_percent": budget_percent}
    live = balanced("round_robin", retries=retries)
    for server in live.servers.values():
        server.control.SetBehaviour(lab.Behaviour(fail_share=1.0, fail_code="UNAVAILABLE"))
    answers = on_one_connection(live.address, sessions(40), at_once=40)
    assert {answer.code for answer in answers} == {"UNAVAILABLE"}
    retried = sum(line["attempts"] - 1 for line in live.access_log(40))
    if budget_percent is None:
        assert retried == 2 * 40
    else:
        # Three or four requests may wait for their retry at any time. All others fail at once.
        assert 3 <= retried <= 2 * 40 / 4
        assert live.stat("upstream_rq_retry_overflow") >= 20


def test_an_attempt_that_times_out_is_retried_on_another_replica(balanced: StartBalanced) -> None:
    retries = {"by": "proxy", "attempts": 2, "attempt_timeout_ms": 400}
    live = balanced("round_robin", replica_options=[SLOW, (), ()], retries=retries)
    answers = on_one_connection(live.address, sessions(9))
    assert {answer.code for answer in answers} == {"OK"}
    assert {answer.replica for answer in answers} == {"replica-1", "replica-2"}
    assert Counter(line["attempts"] for line in live.access_log(9))[2] >= 3


@pytest.mark.parametrize("route", ["envoy", "envoy-l4"])
def test_only_idle_connections_are_closed(route: str, balanced: StartBalanced) -> None:
    live = balanced("round_robin", route=route, idle_timeout_s=1)

    async def make_calls() -> list[Answer]:
        answers = []
        async with connection(live.address) as stub:
            for pause_s in (*(0.1,) * 15, 2, 0):
                answers.append(await call(stub))
                await asyncio.sleep(pause_s)
        return answers

    *busy, after = uvloop.run(make_calls())
    assert {answer.code for answer in [*busy, after]} == {"OK"}
    if route == "envoy":
        connections = {answer.header("x-lab-connection") for answer in busy}
        assert len(connections) == 1
        assert after.header("x-lab-connection") not in connections
    else:
        assert len({answer.replica for answer in busy}) == 1
        assert after.replica != busy[0].replica  # a new connection goes to the next replica


def test_a_stream_that_is_idle_too_long_is_ended(balanced: StartBalanced) -> None:
    live = balanced("round_robin", replica_options=[SLOW], idle_timeout_s=0.2)
    (answer,) = on_one_connection(live.address, sessions(1))
    assert answer.code != "OK"
    assert [line["flags"] for line in live.access_log(1)] == ["SI"]
