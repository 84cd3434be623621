"""A rate that changes: the integral and its inverse, and what the shape does to a plan of arrivals."""

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.plan import NS_PER_S, Load, PlannedCall, open_loop, planned_requests
from lb.rate_curve import RateCurve
from tests.unit.thorough import examples

LOAD = Load(clients=3, rate_per_s=200, think_time_ms=None, skew=1.0, calls={"AddVideo": 1}, seed=1, repeat=1)
WINDOW_S = 4.0
SIGMAS = 6  # a random value exceeds so many standard deviations once in 500 million draws


@st.composite
def curves(draw: st.DrawFn) -> RateCurve:
    """Return a curve of up to eight points with jumps, whose mean over the window is 1."""
    times = draw(st.lists(st.floats(0, WINDOW_S), min_size=0, max_size=7))
    times_s = [0.0, *sorted(round(at_s, 3) for at_s in times)]
    factors = draw(st.lists(st.sampled_from([0.0, 0.1, 1.0, 3.0]), min_size=8, max_size=8))
    points = list(zip(times_s, factors, strict=False))
    mean = RateCurve(points).area(WINDOW_S) / WINDOW_S
    if not mean:
        points = [*points, (WINDOW_S, 1.0)]
        mean = RateCurve(points).area(WINDOW_S) / WINDOW_S
    if not mean:
        return RateCurve([(0.0, 1.0)])
    return RateCurve([(at_s, factor / mean) for at_s, factor in points])


def test_the_factor_follows_lines_and_jumps() -> None:
    curve = RateCurve([(0, 1), (2, 3), (2, 0.5), (3, 0.5)])
    assert [curve.factor(at_s) for at_s in (0, 1, 1.5, 2, 9)] == [1, 2, 2.5, 0.5, 0.5]
    assert [curve.area(at_s) for at_s in (0, 2, 3, 5)] == [0, 4, 4.5, 5.5]


def test_a_curve_that_falls_to_zero_for_good_has_no_moment_for_more() -> None:
    curve = RateCurve([(0, 2), (1, 0)])
    assert curve.moment(0.75) == pytest.approx(0.5)
    assert curve.moment(1.5) == math.inf


def test_nothing_comes_while_the_rate_is_zero() -> None:
    curve = RateCurve([(0, 2), (1, 2), (1, 0), (3, 0), (3, 2)])
    times_s = [call.at_ns / NS_PER_S for call in calls(replace(LOAD, curve=curve))]
    assert times_s
    assert not [at_s for at_s in times_s if 1 < at_s < 3]


@given(curves(), st.floats(0, 1))
def test_the_moment_of_an_area_is_where_the_area_is_reached(curve: RateCurve, part: float) -> None:
    area = part * curve.area(WINDOW_S)
    assert curve.area(curve.moment(area)) == pytest.approx(area, abs=1e-9)


def calls(load: Load, client: int = 0) -> list[PlannedCall]:
    return list(open_loop(load, client, "measure", WINDOW_S, opens=False))


@given(curves(), st.integers(0, 2**31 - 1))
@settings(deadline=None, max_examples=examples(40))
def test_a_curve_moves_requests_and_changes_nothing_else(curve: RateCurve, seed: int) -> None:
    """The same numbers of requests for each client, in the same order, with the same methods."""
    steady = replace(LOAD, seed=seed, calls={"AddVideo": 2, "GetVideos": 1})
    changing = replace(steady, curve=curve)
    for client in range(LOAD.clients):
        before, after = calls(steady, client), calls(changing, client)
        assert [call.method for call in before] == [call.method for call in after]
        assert all(one.at_ns <= other.at_ns for one, other in pairwise(after))
        assert all(0 <= call.at_ns < WINDOW_S * NS_PER_S for call in after)
    assert planned_requests(steady, 1, WINDOW_S) == planned_requests(changing, 1, WINDOW_S)
    assert calls(changing) == calls(changing)


@given(curves(), st.integers(0, 2**31 - 1))
@settings(deadline=None, max_examples=examples(40))
def test_the_number_of_requests_of_each_part_is_poisson_around_its_area(curve: RateCurve, seed: int) -> None:
    load = replace(LOAD, clients=1, curve=curve, seed=seed)
    counts = Counter(int(call.at_ns / NS_PER_S) for call in calls(load))
    for second in range(int(WINDOW_S)):
        expected = 200 * (curve.area(second + 1) - curve.area(second))
        assert abs(counts[second] - expected) <= SIGMAS * math.sqrt(expected) + SIGMAS


def test_the_gaps_are_exponential_after_the_rate_is_taken_out() -> None:
    """Sent back through the integral, arrivals are those of a steady rate: mean and variance of the gaps."""
    curve = RateCurve([(0, 0.2), (2, 3.8), (2, 1.0), (4, 0.0)])
    load = replace(LOAD, clients=1, rate_per_s=2000, curve=curve)
    areas = [curve.area(call.at_ns / NS_PER_S) for call in calls(load)]
    gaps = [later - earlier for earlier, later in pairwise(areas)]
    mean = sum(gaps) / len(gaps)
    deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert mean == pytest.approx(1 / 2000, rel=0.05)
    assert deviation / mean == pytest.approx(1, rel=0.05)


def test_the_warm_up_has_the_rate_of_the_start() -> None:
    slow_start = replace(LOAD, clients=1, rate_per_s=1000, curve=RateCurve([(0, 0.1), (4, 1.9)]))
    warm_up = list(open_loop(slow_start, 0, "warm_up", 2.0, opens=False))
    assert len(warm_up) == pytest.approx(200, abs=SIGMAS * math.sqrt(200))
    silent = replace(slow_start, curve=RateCurve([(0, 0.0), (4, 2.0)]))
    assert [call.at_ns for call in open_loop(silent, 0, "warm_up", 2.0, opens=True)] == [0]
