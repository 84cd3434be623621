"""bench.deciding: the share of drawn runs that are decided, by repeats whose truth is known."""

import random
from pathlib import Path

import pytest

from bench.deciding import Pool, drawn_verdict, row
from harness.analysis.validity import CellResult
from harness.metrics.registry import METRICS
from harness.record.run_directory import read_run
from harness.spec.experiment import load_experiment
from tests.unit.synthetic.synthetic_run import synthesise_run

HELD = {"latency_ms.p99": {"least_1": 50.0, "least_3": 80.0, "least_8": 100.0, "turns_8": 100.0}}


def pool_of(repeats: int, spread: float = 0.0) -> Pool:
    """Return a pool of `many_balancers`. `spread`: each p99 is multiplied by 1 to 1 + spread, at random."""
    pool, chance = Pool(load_experiment("many_balancers")), random.Random(1)
    rest = dict.fromkeys(METRICS)
    for number in range(1, repeats + 1):
        values = HELD["latency_ms.p99"]
        pool.repeats.append(
            {
                arm: CellResult(number, {**rest, "latency_ms.p99": value * (1 + spread * chance.random())})
                for arm, value in values.items()
            }
        )
    return pool


@pytest.mark.parametrize(("spread", "decided"), [(0.01, "100.0% decided"), (3.0, "0.0% decided")])
def test_repeats_that_differ_more_than_the_arms_decide_nothing(spread: float, decided: str) -> None:
    assert row("many_balancers", pool_of(12, spread))[-1] == decided


def test_a_drawn_run_stops_when_it_is_decided() -> None:
    pool = pool_of(9, spread=0.01)
    assert pool.experiment.repeats.max == 9
    pool.repeats[3:] = [{}] * 6  # a fourth repeat would fail for want of an arm

    class InOrder(random.Random):
        def sample(self, population, k, *, counts=None):
            return population[:k]

    assert drawn_verdict(pool, InOrder()) == "held"


def test_with_too_few_repeats_for_a_run_nothing_is_drawn() -> None:
    assert row("many_balancers", pool_of(8))[-1] == "too few repeats"


def test_runs_are_of_one_experiment_whatever_words_describe_it(tmp_path: Path) -> None:
    run = read_run(synthesise_run(tmp_path))
    other_words = Pool(run.experiment.model_copy(update={"lesson": "It was said otherwise."}))
    other_words.add(run)
    assert len(other_words.repeats) == 3
    with pytest.raises(ValueError, match="not that of the other runs"):
        Pool(run.experiment.model_copy(update={"seed": 99})).add(run)
