"""The rate of a cell over time: shapes and bursts as the plan has them."""

from itertools import pairwise

import pytest

from harness.plan.cells import load_of
from harness.plan.rate_path import drawn_bursts, rate_curve
from harness.spec.experiment import Workload
from harness.spec.rate import Bursts

WORK = {"clients": 4, "calls": {"AddVideo": 1}, "duration_s": 10.0}
RAMP = {"shape": "ramp", "start_per_s": 50, "end_per_s": 150}
BURSTS = {"factor": 5, "mean_s": 0.5, "every_s": 2}


def workload(**keys: object) -> Workload:
    return Workload.model_validate(WORK | keys)


def test_a_steady_rate_has_no_curve() -> None:
    assert load_of(workload(rate_per_s=100), 1, 1).curve is None
    assert load_of(workload(think_time_ms=5), 1, 1).curve is None


def test_a_ramp_is_a_line_around_its_mean() -> None:
    load = load_of(workload(rate_per_s=RAMP), 1, 1)
    assert load.rate_per_s == 100
    assert load.curve is not None
    assert load.curve.points == [(0.0, 0.5), (10.0, 1.5)]


def test_bursts_are_the_same_for_the_same_seed_and_repeat() -> None:
    bursts = Bursts.model_validate(BURSTS)
    assert drawn_bursts(bursts, 60, 1, 1) == drawn_bursts(bursts, 60, 1, 1)
    assert drawn_bursts(bursts, 60, 1, 1) != drawn_bursts(bursts, 60, 1, 2)
    assert drawn_bursts(bursts, 60, 1, 1) != drawn_bursts(bursts, 60, 2, 1)


def test_bursts_have_their_mean_length_share_and_rate() -> None:
    bursts = Bursts.model_validate(BURSTS)
    steps = drawn_bursts(bursts, 20_000, 1, 1)
    lengths_s = [later - earlier for (earlier, factor), (later, _) in pairwise(steps) if factor > 1]
    assert len(lengths_s) == pytest.approx(10_000, rel=0.05)
    assert sum(lengths_s) / len(lengths_s) == pytest.approx(0.5, rel=0.05)
    curve = rate_curve(workload(rate_per_s=100, bursts=BURSTS, duration_s=3600.0), 1, 1)
    assert curve is not None
    assert curve.area(3600) == pytest.approx(3600, rel=0.1)
    assert {round(factor, 9) for _, factor in curve.points} == {0.5, 2.5}


def test_bursts_multiply_a_shape() -> None:
    shape, both = (rate_curve(workload(rate_per_s=RAMP, **more), 1, 1) for more in ({}, {"bursts": BURSTS}))
    steady = rate_curve(workload(rate_per_s=100, bursts=BURSTS), 1, 1)
    assert shape is not None
    assert both is not None
    assert steady is not None
    for at_s in (0.0, 0.7, 3.3, 5.0, 9.9):
        assert both.factor(at_s) == pytest.approx(shape.factor(at_s) * steady.factor(at_s))
