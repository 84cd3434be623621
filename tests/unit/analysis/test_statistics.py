"""Intervals over repeats: quantiles compared with printed tables, several looks, and coverage."""

import math

import numpy as np
import pytest

from harness.analysis.statistics import (
    TAIL,
    Interval,
    Repeats,
    interval_over_repeats,
    poisson_limits,
    repeats_needed,
    share_of_repeats_not_excluded,
    t_cdf,
    t_quantile,
    tail_at_each_look,
)

THREE = Repeats(3, 3)


@pytest.mark.parametrize(
    ("probability", "degrees", "printed"),
    [
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 3, 3.182),
        (0.975, 4, 2.776),
        (0.975, 8, 2.306),
        (0.95, 2, 2.920),
        (0.995, 5, 4.032),
        (0.995, 30, 2.750),
        (0.9995, 1, 636.619),
        (0.975, 99, 1.984),
    ],
)
def test_quantiles_are_those_of_the_printed_tables(probability: float, degrees: int, printed: float) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(printed, abs=6e-4)
    assert t_cdf(t_quantile(probability, degrees), degrees) == pytest.approx(probability)


def test_the_interval_of_three_repeats_by_hand() -> None:
    # Logarithms 0, 1, 2: mean 1, standard error 1 / sqrt(3).
    half = 4.30265 / math.sqrt(3)
    interval = interval_over_repeats([1, math.e, math.e**2], THREE)
    assert interval.low == pytest.approx(math.exp(1 - half), rel=1e-4)
    assert interval.high == pytest.approx(math.exp(1 + half), rel=1e-4)


def test_with_a_zero_the_interval_is_of_the_values_themselves() -> None:
    interval = interval_over_repeats([0, 1, 2], THREE)
    assert interval.low == pytest.approx(1 - 4.30265 / math.sqrt(3), rel=1e-4)


def test_equal_values_have_an_interval_without_length() -> None:
    # Exact to the last digit, because a claim may be about this value, and a logarithm would round it.
    for value in (number / 100 for number in range(1, 300)):
        assert interval_over_repeats([value] * 3, THREE) == Interval(value, value)


def test_one_repeat_has_no_interval() -> None:
    with pytest.raises(ValueError, match="2 repeats at least, and there are 1"):
        interval_over_repeats([1.0], Repeats(1, 1))


def test_the_interval_reaches_to_the_ranks_of_the_sign_test() -> None:
    """Eight equal repeats and an outlier: 9 repeats may leave out one at each end, 5 may not."""
    near = [1.0, 1.001, 1.002, 1.003, 1.004, 1.005, 1.006, 1.007]
    assert 2.0 in interval_over_repeats([*near[:4], 2.0], Repeats(5, 5))
    even = [1.0] * 7 + [1.5, 1.6]
    # Student's t alone would end at 1.36: the second largest of nine is inside.
    assert interval_over_repeats(even, Repeats(9, 9)).high == 1.5


def test_the_median_is_always_inside() -> None:
    random = np.random.default_rng(3)
    for _ in range(300):
        count = int(random.integers(2, 14))
        values = np.exp(random.standard_cauchy(count).clip(-50, 50)).tolist()
        assert float(np.median(values)) in interval_over_repeats(values, Repeats(count, count))


def test_a_single_look_has_the_whole_error_and_several_share_it() -> None:
    assert tail_at_each_look(THREE) == TAIL
    assert Repeats(1, 3).looks == (2, 3)
    seven = tail_at_each_look(Repeats(3, 9))
    assert TAIL / 7 < seven < tail_at_each_look(Repeats(3, 4)) < TAIL


def test_whenever_a_run_stops_the_intervals_miss_the_truth_as_often_as_stated() -> None:
    """The lognormal values are not those with which the level was found. Their true median is 1."""
    looks = Repeats(3, 5)
    values = np.exp(np.random.default_rng(8).standard_normal((4000, 5)))
    missed = sum(
        any(1 not in interval_over_repeats(row[:made].tolist(), looks) for made in looks.looks)
        for row in values
    )
    assert missed / 4000 == pytest.approx(2 * TAIL, abs=0.01)


@pytest.mark.parametrize(
    ("events", "low", "high"),
    [(0, 0, 3.689), (1, 0.0253, 5.572), (3, 0.619, 8.767), (10, 4.795, 18.39), (100, 81.36, 121.63)],
)
def test_limits_of_a_count_are_those_of_the_printed_tables(events: int, low: float, high: float) -> None:
    assert poisson_limits(events) == pytest.approx((low, high), rel=1e-3)


def test_no_exception_seen_still_allows_some() -> None:
    assert share_of_repeats_not_excluded(20) == pytest.approx(0.14, abs=2e-3)


def test_how_many_repeats_would_decide() -> None:
    few = repeats_needed([3.3, 3.1, 3.9], 3)
    assert few is not None
    assert 4 <= few <= 8
    assert repeats_needed([2.9, 3.0, 3.1], 3) is None
    assert repeats_needed([0, 2, 3], 0.5) is not None
