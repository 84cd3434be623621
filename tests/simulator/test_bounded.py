"""Bounded hashing without a queue of events: its bound, and the same as event by event."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tests.simulator.forecast_kernels
import tests.simulator.kernels  # noqa: F401
from simulator.bounded import serve_bounded
from simulator.histogram import new_counts, quantile_s
from simulator.simulation import simulate
from simulator.system import Policy
from tests.simulator.loads import MS, fleet, poisson
from tests.unit.thorough import examples


@settings(max_examples=examples(40), deadline=None)
@given(percent=st.integers(100, 400), replicas=st.integers(1, 9), seed=st.integers(0, 99))
def test_nothing_is_served_while_all_are_at_the_bound(percent: int, replicas: int, seed: int) -> None:
    """All requests arrive at once and one key owns them: the bound alone decides who gets them."""
    requests, latencies, count = np.zeros(replicas, np.int64), new_counts(), 200
    key = np.random.default_rng(seed).integers(2**63, size=count, dtype=np.uint64)
    serve_bounded(
        *(np.zeros(count), np.zeros(count, np.int32), key, np.full(count, 1.0), percent),
        *(np.zeros((replicas, 2)), requests, latencies),
    )
    assert requests.sum() == latencies.sum() == count
    # A replica at its bound still takes one more, as in Envoy.
    assert requests.max() <= -(-count * percent // 100 // replicas) + 2


def test_it_is_the_event_by_event_one_in_distribution() -> None:
    calls = poisson(20_000, 850, 10, clients=40)
    policy = Policy("proxy", "maglev", bounded_load_percent=125)
    slow = simulate(fleet(5, policy, 2, deadline_ns=10**15), calls)
    # The same keys on the same replicas.
    plain = simulate(fleet(5, Policy("proxy", "maglev"), 2, deadline_ns=10**15), calls)
    requests, latencies = np.zeros(5, np.int64), new_counts()
    serve_bounded(
        *(calls.planned_ns / 1e9, plain.replica.astype(np.int32), calls.key, calls.work_ns / 1e9, 125),
        *(np.zeros((5, 2)), requests, latencies),
    )
    expected = np.bincount(slow.replica, minlength=5)
    assert requests / len(calls) == pytest.approx(expected / len(calls), abs=0.02)
    for share in (0.5, 0.9, 0.99):
        exact_ms = float(np.quantile((slow.answered_ns - slow.planned_ns) / MS, share))
        assert quantile_s(latencies, share) * 1000 == pytest.approx(exact_ms, rel=0.08)
