"""Random placement: compared with sums over all placements, and properties of balls in bins."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.sessions import random_placement

SESSIONS = st.lists(st.integers(1, 1000), min_size=1, max_size=40)


def placed(requests, replicas):
    return random_placement(np.array(requests, dtype=np.int64), replicas)


def predicted(requests, replicas):
    return placed(requests, replicas).mean


def all_placements(requests, replicas):
    """Return the busiest replica / fair share of every placement of these sessions, ascending."""
    return sorted(
        max(sum(r for r, at in zip(requests, places, strict=True) if at == here) for here in range(replicas))
        * (replicas / sum(requests))
        for places in itertools.product(range(replicas), repeat=len(requests))
    )


FEW_SESSIONS = [([1, 1], 2), ([1] * 6, 3), ([50, 10, 10, 5, 1], 4), ([7] * 9, 2), ([100, 1], 4)]


@pytest.mark.parametrize(("requests", "replicas"), FEW_SESSIONS)
def test_it_is_the_mean_over_all_placements(requests, replicas):
    """Two per cent: four standard errors of 2,000 draws at these sizes."""
    every = all_placements(requests, replicas)
    assert predicted(requests, replicas) == pytest.approx(sum(every) / len(every), rel=0.02)


@pytest.mark.parametrize(("requests", "replicas"), [*FEW_SESSIONS, ([5, 4, 3, 3, 2, 2, 1, 1], 4)])
def test_nine_of_ten_placements_are_in_the_band(requests, replicas):
    """Two in a hundred: four standard errors of a share of 5 % in 2,000 draws."""
    every, found = all_placements(requests, replicas), placed(requests, replicas)
    below = sum(one < found.p5 - 1e-9 for one in every) / len(every)
    above = sum(one > found.p95 + 1e-9 for one in every) / len(every)
    assert max(below, above) <= 0.07
    # And the ends are no further out than that.
    assert sum(one <= found.p5 + 1e-9 for one in every) / len(every) >= 0.03
    assert sum(one >= found.p95 - 1e-9 for one in every) / len(every) >= 0.03


@given(SESSIONS, st.integers(1, 16))
def test_the_band_is_around_or_beside_the_mean_within_what_is_possible(requests, replicas):
    found = placed(requests, replicas)
    lowest = max(1, max(requests) * replicas / sum(requests))
    assert lowest - 1e-9 <= found.p5 <= found.p95 <= replicas + 1e-9
    assert lowest - 1e-9 <= found.mean <= replicas + 1e-9


def test_two_equal_sessions_on_two_replicas_meet_half_of_the_time():
    assert predicted([10, 10], 2) == pytest.approx(1.5, abs=0.05)


@given(SESSIONS, st.integers(1, 16))
def test_it_lies_between_even_and_all_on_one(requests, replicas):
    found = predicted(requests, replicas)
    assert max(1, max(requests) * replicas / sum(requests)) - 1e-9 <= found <= replicas + 1e-9


@given(SESSIONS, st.integers(1, 16), st.randoms())
def test_neither_order_nor_unit_of_the_requests_matters(requests, replicas, random):
    found = predicted(requests, replicas)
    assert predicted(random.sample(requests, len(requests)), replicas) == found
    assert predicted([3 * r for r in requests], replicas) == pytest.approx(found)


@given(st.integers(1, 1000), st.integers(1, 16))
def test_one_session_is_all_on_one_replica(requests, replicas):
    assert predicted([requests], replicas) == pytest.approx(replicas)


def test_more_sessions_are_more_even():
    found = [predicted([1] * sessions, 4) for sessions in (4, 12, 40, 120, 100_000)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 1.02


def test_without_requests_there_is_nothing_to_place():
    assert placed([], 4) is None
