"""When requests are late under a rate that changes: the knee, and the recovery after the peak."""

from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.rate_effects import rate_effects_of
from harness.metrics.facts import RateEffects
from harness.plan.rate_path import planned_rates
from lb.plan import Load
from lb.rate_curve import RateCurve

MS, S = 1_000_000, 1_000_000_000
LOAD = Load(clients=3, rate_per_s=100, think_time_ms=None, skew=1.0, calls={"AddVideo": 1}, seed=1, repeat=1)
# 8 s in 80 steps of 0.1 s; the peak is the second second.
PEAK = [100.0] * 10 + [400.0] * 10 + [100.0] * 60


def effects(late_s: list[tuple[float, float]], rates: list[float] = PEAK, **failed: bool) -> RateEffects:
    """Return the effects of 20 requests a step, of 10 ms; in the intervals `late_s` of 100 ms, or failed."""
    at_ns = np.arange(1600) * 5 * MS
    is_late = np.zeros(1600, dtype=bool)
    for from_s, to_s in late_s:
        is_late |= (at_ns >= from_s * S) & (at_ns < to_s * S)
    latency_ns = np.where(is_late & (not failed), 100 * MS, 10 * MS)
    found = rate_effects_of(at_ns, latency_ns, ~(is_late & bool(failed)), rates, 8.0)
    assert found is not None
    return found


def test_the_rates_of_the_steps_are_means_of_the_plan() -> None:
    rates = planned_rates(replace(LOAD, curve=RateCurve([(0, 0.5), (8, 1.5)])), 8.0)
    assert len(rates) == 80
    assert rates[:2] == [50.625, 51.875]
    assert sum(rates) / 80 == pytest.approx(100)
    assert planned_rates(LOAD, 8.0) == []


def test_the_last_step_may_be_shorter() -> None:
    rates = planned_rates(replace(LOAD, curve=RateCurve([(0, 1), (8, 1)])), 4.05)
    assert rates == pytest.approx([100] * 41)


def test_recovery_counts_from_the_end_of_the_peak() -> None:
    found = effects([(1.2, 2.5)])
    assert found.usual_ns == 10 * MS
    assert found.recovery_s == pytest.approx(0.5)
    assert found.knee_per_s == 400


def test_failed_requests_are_late() -> None:
    found = effects([(1.2, 2.5)], failed=True)
    assert found.recovery_s == pytest.approx(0.5)


def test_without_late_requests_nothing_has_to_recover() -> None:
    found = effects([])
    assert (found.recovery_s, found.knee_per_s) == (0, None)


def test_who_never_recovers_has_the_rest_of_the_window() -> None:
    assert effects([(1.2, 8.0)]).recovery_s == pytest.approx(6)


def test_a_single_late_step_is_a_hiccup() -> None:
    found = effects([(3.0, 3.1), (5.0, 5.1)])
    assert (found.recovery_s, found.knee_per_s) == (0, None)


def test_a_few_late_requests_do_not_make_a_step_late() -> None:
    """One of 20 requests is less than a tenth; two are a tenth."""
    assert effects([(3.0, 3.005), (3.1, 3.105)]).knee_per_s is None
    assert effects([(3.0, 3.01), (3.1, 3.11)]).knee_per_s == 100


def test_a_window_that_ends_with_a_high_rate_has_no_recovery() -> None:
    found = effects([(4.0, 8.0)], rates=list(np.linspace(50, 150, 80)))
    assert found.recovery_s is None
    assert found.knee_per_s == pytest.approx(50 + 40 * 100 / 79)


def test_nothing_is_said_of_a_steady_rate_or_a_window_that_was_cut_short() -> None:
    at_ns, latency_ns, ok = np.arange(100) * MS, np.full(100, MS), np.full(100, True)
    assert rate_effects_of(at_ns, latency_ns, ok, [], 8.0) is None
    assert rate_effects_of(at_ns, latency_ns, ok, PEAK, 3.3) is None


def test_without_an_answer_in_the_first_eighth_nothing_is_usual() -> None:
    at_ns, latency_ns = np.arange(100) * MS + 2 * S, np.full(100, MS)
    found = rate_effects_of(at_ns, latency_ns, np.full(100, True), PEAK, 8.0)
    assert found is not None
    assert (found.usual_ns, found.recovery_s, found.knee_per_s) == (None, None, None)
