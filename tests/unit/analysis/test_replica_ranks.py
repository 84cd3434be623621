"""Replicas by rank: ranked in each repeat, and only where the experiment does not tell them apart."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.replica_ranks import ranked, replicas_differ, shares_by_rank
from harness.analysis.summary import facts_of
from harness.metrics.metric import max_over_mean
from harness.record.run_directory import read_run
from harness.spec.experiment import load_experiment
from tests.unit.synthetic import stories
from tests.unit.synthetic.synthetic_run import GOLDEN

COUNTS = st.lists(st.integers(0, 10_000), min_size=1, max_size=64)


def test_ranks_are_of_each_repeat_on_its_own() -> None:
    """Another replica is the busiest in each repeat: by name all have the same sum and the same median."""
    cell = facts_of(read_run(GOLDEN))["sticky"][0]
    counts = [[40, 30, 20, 10], [30, 40, 10, 20], [20, 10, 40, 30], [10, 20, 30, 40]]
    cells = [replace(cell, replica_requests=dict(zip("abcd", row, strict=True))) for row in counts]
    assert shares_by_rank(cells) == [0.4, 0.3, 0.2, 0.1]


def test_an_arm_that_lost_a_replica_has_the_ranks_that_there_are() -> None:
    cell = facts_of(read_run(GOLDEN))["sticky"][0]
    counts = [{"a": 1, "b": 3}, {"a": 6, "b": 2, "c": 0}]
    assert shares_by_rank([replace(cell, replica_requests=of) for of in counts]) == [0.75, 0.25, 0.0]


def test_the_first_rank_is_busiest_over_fair() -> None:
    assert ranked([10, 40, 20, 30]) == [0.4, 0.3, 0.2, 0.1]
    assert 4 * ranked([10, 40, 20, 30])[0] == max_over_mean([10, 40, 20, 30])


def test_nothing_answered_has_no_ranks() -> None:
    assert ranked([0, 0]) == []
    assert shares_by_rank([]) == []


@given(COUNTS, st.randoms())
def test_ranks_do_not_depend_on_the_order_of_replicas(counts: list[int], random: st.DataObject) -> None:
    shuffled = random.sample(counts, len(counts))  # type: ignore[attr-defined]
    assert ranked(shuffled) == ranked(counts)
    assert sum(ranked(counts)) == pytest.approx(1 if sum(counts) else 0)


@pytest.mark.parametrize(
    ("arm", "more", "differ"),
    [
        ("route: envoy, policy: sticky", {}, False),
        ("route: direct, policy: pick_first", {}, False),
        ("route: envoy, policy: weighted, options: {weights: [3, 1, 1, 1]}", {}, True),
        (
            "route: envoy, policy: target_groups, options: "
            "{groups: {blue: {replicas: 3, weight: 80}, green: {replicas: 1, weight: 20}}}",
            {},
            True,
        ),
        ("route: envoy, policy: random", {"replicas": ", different: {replica-1: {slow_factor: 2}}"}, True),
        ("route: envoy, policy: random", {"replicas": ", slow_factor: 2"}, False),
        ("route: envoy, policy: random", {"events": "[{at_s: 0.3, do: kill, target: replica-1}]"}, True),
        ("route: envoy, policy: random", {"events": "[{at_s: 0.3, do: fail, target: all}]"}, False),
        ("route: envoy, policy: random", {"events": "[{at_s: 0.3, do: proxy_restart}]"}, False),
        ("route: envoy, policy: random, events: [{at_s: 0.3, do: add}]", {}, True),
    ],
)
def test_what_tells_replicas_apart(tmp_path, arm, more, differ) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "one.yaml"
    path.write_text(stories.experiment({"a": arm}, **more))
    assert replicas_differ(load_experiment(str(path))) == differ
