"""Random placement: compared with sums over all placements, and properties of balls in bins."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.sessions import random_max_over_mean

SESSIONS = st.lists(st.integers(1, 1000), min_size=1, max_size=40)


def predicted(requests, replicas):
    return random_max_over_mean(np.array(requests, dtype=np.int64), replicas)


def over_all_placements(requests, replicas):
    """Return the exact expectation: the mean over all placements of these sessions."""
    busiest = [
        max(sum(r for r, at in zip(requests, places, strict=True) if at == here) for here in range(replicas))
        for places in itertools.product(range(replicas), repeat=len(requests))
    ]
    return sum(busiest) / len(busiest) * replicas / sum(requests)


@pytest.mark.parametrize(
    ("requests", "replicas"),
    [([1, 1], 2), ([1] * 6, 3), ([50, 10, 10, 5, 1], 4), ([7] * 9, 2), ([100, 1], 4)],
)
def test_it_is_the_mean_over_all_placements(requests, replicas):
    """Two per cent: four standard errors of 2,000 draws at these sizes."""
    assert predicted(requests, replicas) == pytest.approx(over_all_placements(requests, replicas), rel=0.02)


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
    assert predicted([], 4) is None
