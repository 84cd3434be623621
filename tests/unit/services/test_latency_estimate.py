"""The latency that a replica tells clients that probe it."""

from statistics import median_low

from hypothesis import given
from hypothesis import strategies as st

from services.latency_estimate import NEAREST, RECENT, LatencyEstimate


def test_nothing_is_known_before_the_first_answer() -> None:
    assert LatencyEstimate().of(1) == 0


def test_requests_that_met_another_load_do_not_count() -> None:
    estimate = LatencyEstimate()
    for _ in range(NEAREST):
        estimate.learn(1, 10)
        estimate.learn(9, 90)
    assert (estimate.of(1), estimate.of(8)) == (10, 90)


def test_of_equal_loads_the_newest_count() -> None:
    estimate = LatencyEstimate()
    for latency in (10, 20):
        for _ in range(NEAREST):
            estimate.learn(3, latency)
    assert estimate.of(3) == 20


@given(
    answers=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 1000)), min_size=1, max_size=100),
    load=st.integers(1, 25),
)
def test_it_is_the_median_of_the_nearest_recent_ones(answers: list[tuple[int, int]], load: int) -> None:
    estimate = LatencyEstimate()
    for in_flight, latency in answers:
        estimate.learn(in_flight, latency)
    recent = answers[-RECENT:][::-1]
    nearest = sorted(recent, key=lambda one: abs(one[0] - load))[:NEAREST]
    assert estimate.of(load) == median_low(latency for _, latency in nearest)
