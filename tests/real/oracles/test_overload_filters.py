"""How Envoy refuses requests: adaptive concurrency and admission control."""

import math
from collections import Counter

import pytest
from behind_envoy import Balanced, StartBalanced, on_one_connection, sessions

SLOW = ("--service-time", "constant:1000")
FOUR_SLOTS = ("--slots", "4", "--service-time", "constant:20")
FAILS = ("--settings", '{"fail_share": 1.0, "service_time_ms": {"distribution": "constant", "mean": 0}}')
LIMIT = "adaptive_concurrency.gradient_controller.concurrency_limit"


def gauge(live: Balanced, name: str) -> int:
    """Return a gauge of the lab's listener."""
    return int(live.envoy.admin.get(f"/stats?filter=^http.lab.{name}$").rpartition(":")[2])


def test_few_requests_are_let_through_while_the_minimum_latency_is_measured(balanced: StartBalanced) -> None:
    limits = {"min_concurrency": 4, "min_latency_requests": 1000}
    live = balanced("round_robin", replica_options=[SLOW] * 2, adaptive_concurrency=limits)
    answers = on_one_connection(live.address, sessions(12), at_once=12)
    assert Counter(answer.code for answer in answers) == {"OK": 4, "UNAVAILABLE": 8}
    log = live.access_log(12)
    assert Counter(line["details"] for line in log) == {"via_upstream": 4, "reached_concurrency_limit": 8}
    assert {line["upstream"] for line in log if line["grpc"] != "OK"} == {None}


@pytest.mark.alone
def test_the_limit_follows_the_latency(balanced: StartBalanced) -> None:
    """Eight slots: with fewer requests in flight slots are idle, with more than thrice as many most wait.

    Envoy's formula is: next limit = limit * 1.25 minimum / median latency + sqrt(limit). With a latency of
    minimum * limit / 8 its steady state is 14. But service times are constant, so requests of one replica end
    together, and latencies are whole multiples of 20 ms. With 8 to 16 in flight the median is one or two of
    these, so the limit moves up and down. It rises from 16 at most, to 16 * 1.25 + 4 = 24. It falls from 8 at
    least, to 8 * 1.25 / 2 + sqrt(8) = 7.8. A reading is one moment of that: the tolerance has these two ends.
    """
    limits = {"min_latency_requests": 20}
    live = balanced("round_robin", replica_options=[FOUR_SLOTS] * 2, adaptive_concurrency=limits)
    on_one_connection(live.address, sessions(60), at_once=3)
    seen = []
    for _ in range(3):
        on_one_connection(live.address, sessions(800), at_once=64)
        seen.append(gauge(live, LIMIT))
    assert 8 <= sorted(seen)[1] <= 24, seen


def test_refusals_grow_with_failures_up_to_their_maximum(balanced: StartBalanced) -> None:
    live = balanced("round_robin", replica_options=[FAILS] * 2, admission_control={"max_refused_percent": 60})
    answers = on_one_connection(live.address, sessions(400))
    assert {answer.code for answer in answers} == {"UNAVAILABLE"}
    refused = Counter(line["details"] for line in live.access_log(400))["denied_by_admission_control"]
    # All fail, so the probability is n / (n + 1) after n of them, and 0.6 from the second on. Five sigma.
    assert abs(refused - 0.6 * 400) <= 5 * math.sqrt(400 * 0.6 * 0.4)


def test_nothing_is_refused_while_requests_succeed(balanced: StartBalanced) -> None:
    live = balanced("round_robin", admission_control={})
    assert {answer.code for answer in on_one_connection(live.address, sessions(200))} == {"OK"}
