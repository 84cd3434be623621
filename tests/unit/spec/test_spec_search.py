"""The key `search` of an experiment file."""

from pathlib import Path

import pytest

from harness.errors import UserError
from harness.plan.cells import cells_at_least, cells_at_most, searched_cell
from harness.spec.experiment import (
    changes_of_question,
    experiment_yaml,
    load_experiment,
    quick_overrides,
)

GOOD = """\
title: Capacity
question: How much?
lesson: Look.
replicas: {count: 2, slots: 2, service_time_ms: {distribution: exponential, mean: 20}}
workload:
  clients: 4
  rate_per_s: 50
  calls: {AddVideo: 1}
  duration_s: 4
arms:
  sticky: {route: envoy, policy: sticky}
  turns: {route: envoy, policy: round_robin}
search: {factor: rate_per_s, while: {metric: latency_ms.p99, at_most: 100}, within: 5 %}
repeats: {min: 3, max: 5}
expect:
  - {arm: sticky, metric: capacity_per_s, at_most_times: 0.9, of: turns}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (file := tmp_path / "mine.yaml").write_text(GOOD)
    return file


def test_a_search_is_read_and_written(path: Path) -> None:
    experiment = load_experiment(str(path))
    search = experiment.search
    assert search is not None
    assert (search.within_share, search.max_cells) == (0.05, 8)
    assert search.condition.in_words() == "p99 latency at most 100 ms"
    path.write_text(experiment_yaml(experiment))
    assert load_experiment(str(path)) == experiment
    assert "while:" in path.read_text()


def test_its_cells_are_counted_and_planned(path: Path) -> None:
    experiment = load_experiment(str(path))
    assert (cells_at_least(experiment), cells_at_most(experiment)) == (12, 80)
    cell = searched_cell(experiment, "sticky", 62.5, repeat=2, order=7)
    assert (cell.arm_name, cell.repeat, cell.order) == ("sticky_62_5", 2, 7)
    assert (cell.workload.rate_per_s, cell.load.rate_per_s) == (62.5, 62.5)
    assert cell.searched is not None
    assert (cell.searched.name, cell.searched.value) == ("sticky", 62.5)


def test_a_quick_search_tries_few_values_and_a_rate_only_begins_it(path: Path) -> None:
    experiment = load_experiment(str(path))
    quick = quick_overrides(experiment)
    assert quick == {"repeats": 1, "search.max_cells": 2, "workload.warm_up_s": 0.5, "workload.duration_s": 2}
    assert cells_at_most(load_experiment(str(path), quick)) == 4
    assert changes_of_question(experiment, {"workload.rate_per_s": 90.0}) == ()
    assert changes_of_question(experiment, {"workload.clients": 9}) == ("--clients 9 instead of 4",)


WRONG = """
rate_per_s, while | clients, while | search.factor: 'clients' is out of range; expected 'rate_per_s'
within: 5 % | within: 5 | search.within: 5 is not text; expected a percentage from 1 % to less than 50 %
within: 5 % | within: 60 % | search.within: '60 %' cannot be used; expected a percentage from 1 %
within: 5 % | with: 5 % | search: unknown key 'with'
while: {metric | whille: {metric | search: unknown key 'whille'; did you mean 'while'?
at_most: 100} | at_most: 1, at_least: 1} | search.while: at_most and at_least given; expected exactly one
, at_most: 100} | } | search.while: no bound given; expected exactly one of at_most, at_least
latency_ms.p99 | latency_ms.p98 | search.while.metric: unknown metric of a cell 'latency_ms.p98'; did you
latency_ms.p99 | capacity_per_s | search.while.metric: unknown metric of a cell 'capacity_per_s'
latency_ms.p99 | cache.hit_share | search.while: 'cache.hit_share' has no value in arm 'sticky': the
latency_ms.p99, at_most: 100 | error_share, at_most: 1 | search.while: cannot fail: the metric is never
rate_per_s: 50 | think_time_ms: 5 | search.factor: a closed loop has no rate to vary; expected workload.rate
sticky} | sticky, rate_per_s: 9} | arms.sticky.rate_per_s: the search varies it; leave it out
sticky} | sticky, sweep: {skew: [0, 1]}} | arms.sticky.sweep: an arm that is searched sweeps nothing
capacity_per_s, | latency_ms.p99, | expect[0].metric: 'latency_ms.p99': nobody knows the cells of a search
5 %} | 5 %, max_cells: 1} | search.max_cells: 1 is out of range; expected a whole number from 2 to 20
"""


@pytest.mark.parametrize("case", WRONG.strip().splitlines())
def test_a_mistake_is_one_line(path: Path, case: str) -> None:
    old, new, told = case.split(" | ")
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        load_experiment(str(path))
    line = {"arms": 11, "expect[0]": 16}.get(told.partition(".")[0], 13)
    assert str(caught.value).startswith(f"{path}:{line}: {told}")
    assert "\n" not in str(caught.value)


def test_capacity_takes_a_search(path: Path) -> None:
    lines = GOOD.splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("search:")))
    with pytest.raises(UserError, match="has no value in arm 'sticky': the experiment has no `search`"):
        load_experiment(str(path))
