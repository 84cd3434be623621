"""Placements of sessions, against what can be computed by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.plan.placements import (
    busiest_shares,
    client_shares,
    clients_for_rare_overload,
    deal,
    overload_probability,
    targets_for_rare_overload,
)
from harness.plan.question import FleetQuestion
from lb.plan import Load, client_rate_per_s

QUESTION = FleetQuestion(clients=600, rate_per_s=1500, skew=0.8, targets=12, service_ms=40)


def test_clients_have_the_rates_of_a_run() -> None:
    load = Load(30, 300.0, None, 0.9, {"AddVideo": 1}, 1, 1)
    rates = [client_rate_per_s(load, client) for client in range(30)]
    assert client_shares(30, 0.9) * 300 == pytest.approx(rates)


@given(clients=st.integers(1, 300), targets=st.integers(1, 40), seed=st.integers(0, 99))
def test_dealt_sessions_differ_by_one_at_most(clients: int, targets: int, seed: int) -> None:
    counts = np.bincount(deal(clients, targets, np.random.default_rng(seed)), minlength=targets)
    assert counts.sum() == clients
    assert counts.max() - counts.min() <= 1


@given(clients=st.integers(1, 300), targets=st.integers(1, 40), dealt=st.booleans())
def test_the_busiest_has_a_fair_share_at_least(clients: int, targets: int, dealt: bool) -> None:
    shares = busiest_shares(client_shares(clients, 0.7), targets, 1, dealt=dealt, placements=20)
    assert ((shares >= 1 / targets - 1e-9) & (shares <= 1 + 1e-9)).all()


def test_two_equal_clients_on_two_targets_meet_half_the_time() -> None:
    shares = busiest_shares(client_shares(2, 0.0), 2, 1, dealt=False)
    assert np.mean(shares == 1) == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / len(shares)))
    assert (busiest_shares(client_shares(2, 0.0), 2, 1, dealt=True) == 0.5).all()


def test_small_clients_together_are_as_uneven_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    together = busiest_shares(client_shares(4000, 0.5), 6, 1, dealt=False, placements=400)
    monkeypatch.setattr("harness.plan.placements.NAMED_CLIENTS", 4000)
    one_by_one = busiest_shares(client_shares(4000, 0.5), 6, 1, dealt=False, placements=400)
    for share in (0.1, 0.5, 0.9):
        assert np.quantile(together, share) == pytest.approx(np.quantile(one_by_one, share), rel=0.01)


def test_the_issues_fleet_is_overloaded_in_84_of_100_placements() -> None:
    """Worked out by hand: 62 % utilised, and 84 % of all placements overload a target."""
    assert QUESTION.utilisation == pytest.approx(0.625)
    assert overload_probability(QUESTION) == pytest.approx(0.84, abs=0.04)
    # Turns over new sessions give each target as many of them: a little better.
    assert overload_probability(QUESTION, dealt=True) == pytest.approx(0.82, abs=0.04)


def test_more_clients_or_targets_make_overload_rare() -> None:
    targets, clients = targets_for_rare_overload(QUESTION), clients_for_rare_overload(QUESTION)
    assert targets is not None and 20 <= targets <= 40
    assert clients is not None and 5_000 <= clients <= 40_000
    assert overload_probability(QUESTION.with_targets(targets)) < 0.1


def test_no_number_of_targets_helps_against_a_client_that_is_too_heavy() -> None:
    heavy = FleetQuestion(clients=10, rate_per_s=1500, skew=2, targets=12, service_ms=40)
    assert targets_for_rare_overload(heavy) is None
