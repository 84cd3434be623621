"""Expectations that say nothing of the planned cells are refused, in one line with the reason."""

from pathlib import Path

import pytest

from harness.errors import UserError
from harness.spec.experiment import load_experiment

BASE = """\
title: t
question: q
lesson: l
replicas: {{count: {replicas}, slots: 4, service_time_ms: {{distribution: exponential, mean: 5}}}}
workload: {{clients: {clients}, rate_per_s: 100, calls: {{AddVideo: 1}}, duration_s: 3, deadline_ms: 60}}
arms:
  sticky: {{route: envoy, policy: sticky}}
  turns: {{route: envoy, policy: round_robin}}
  first: {{route: direct, policy: pick_first}}
  waits: {{route: envoy, policy: round_robin, await_each_answer: true}}
{events}expect:
  - {{{expectation}}}
"""
KILL = "events: [{at_s: 1, do: kill, target: replica-0, for_s: 1}]\n"


def load(folder: Path, expectation: str, replicas: int = 3, clients: int = 12, events: str = "") -> None:
    path = folder / "one.yaml"
    path.write_text(BASE.format(expectation=expectation, replicas=replicas, clients=clients, events=events))
    load_experiment(str(path))


@pytest.mark.parametrize(
    ("expectation", "told"),
    [
        (
            "arm: sticky, metric: share.replica-5, at_most: 0.5",
            "'share.replica-5' has no value in arm 'sticky': there is no replica-5; "
            "expected replica-0 to replica-2",
        ),
        ("arm: sticky, metric: event1.error_share, at_most: 0.5", "the arm has no events, and no event 1"),
        ("arm: sticky, metric: cache.hit_share, at_least: 0.5", "the replicas have no cache"),
        ("arm: sticky, metric: stream.purity, at_least: 0.5", "the workload has no streams"),
        ("arm: first, metric: bytes.per_request, at_most: 5", "only Envoy counts bytes"),
        (
            "arm: turns, metric: ok_latency_ms.p99, at_most: 100",
            "turns: ok_latency_ms.p99 at most 100 ms: cannot fail: the metric is never above 60 here",
        ),
        ("arm: turns, metric: ok_latency_ms.p99, at_least: 100", "cannot be met"),
        ("arm: turns, metric: error_share, at_most: 1", "cannot fail: the metric is never above 1 here"),
        ("arm: turns, metric: error_share, at_least: 0", "cannot fail: the metric is never below 0 here"),
        ("arm: turns, metric: error_share, at_least: 1.5", "cannot be met: the metric is never above 1 here"),
        ("arm: turns, metric: spread.max_over_mean, at_least: 3.5", "cannot be met"),
    ],
)
def test_what_says_nothing_is_refused(tmp_path: Path, expectation: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, expectation)
    assert told in str(caught.value)
    assert "expect[0]" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("arm", ["sticky", "first"])
def test_few_placements_on_many_replicas_are_uneven_anyway(tmp_path: Path, arm: str) -> None:
    expectation = f"arm: {arm}, metric: spread.max_over_mean, at_least: 1.9"
    with pytest.raises(UserError, match="cannot fail: the metric is never below 2 here"):
        load(tmp_path, expectation, replicas=8, clients=4)
    load(tmp_path, expectation, replicas=8, clients=12)
    load(tmp_path, expectation, replicas=8, clients=4, events=KILL)  # sessions and connections may move


@pytest.mark.parametrize(
    "expectation",
    [
        "arm: waits, metric: latency_ms.p99, at_most: 100",  # from the planned send
        "arm: turns, metric: error_share, at_most: 0",
        "arm: sticky, metric: affinity.purity, at_least: 1",
        "arm: first, metric: spread.used_replicas, at_most: 1",
        "arm: sticky, metric: latency_ms.p99, at_least_times: 3, of: turns",
    ],
)
def test_what_can_fail_is_accepted(tmp_path: Path, expectation: str) -> None:
    load(tmp_path, expectation)


def test_an_event_and_its_opposite_are_two(tmp_path: Path) -> None:
    load(tmp_path, "arm: turns, metric: event2.error_share, at_most: 0.5", events=KILL)
    with pytest.raises(UserError, match="the arm has 2 events, and no event 3"):
        load(tmp_path, "arm: turns, metric: event3.error_share, at_most: 0.5", events=KILL)
