"""Metrics: published values, and properties that hold for any counts."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.metrics import metric
from harness.metrics import registry as metrics
from harness.metrics.event_metrics import event_metric

COUNTS = st.lists(st.integers(0, 10_000), min_size=1, max_size=64).filter(any)


# Critical values of the chi-square distribution, NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4.
@pytest.mark.parametrize(
    ("degrees", "probability", "critical"),
    [
        (1, 0.05, 3.841),
        (1, 0.001, 10.828),
        (2, 0.05, 5.991),
        (3, 0.10, 6.251),
        (3, 0.01, 11.345),
        (10, 0.05, 18.307),
        (15, 0.025, 27.488),
        (30, 0.01, 50.892),
        (63, 0.05, 82.529),
        (100, 0.001, 149.449),
    ],
)
def test_chi2_survival_agrees_with_published_critical_values(degrees, probability, critical):
    assert metric.chi2_survival(critical, degrees) == pytest.approx(probability, rel=2e-3)


@given(st.floats(0, 1e9), st.integers(1, 255))
@example(5e-324, 1)
def test_chi2_survival_is_a_probability_whatever_the_size(x, degrees):
    assert 0 <= metric.chi2_survival(x, degrees) <= 1


@given(st.floats(0.01, 300), st.floats(0.01, 300), st.integers(1, 64))
def test_chi2_survival_falls_with_x_and_rises_with_degrees(x, step, degrees):
    here = metric.chi2_survival(x, degrees)
    assert metric.chi2_survival(x + step, degrees) <= here + 1e-12
    assert metric.chi2_survival(x, degrees + 1) >= here - 1e-12


@pytest.mark.parametrize(
    ("rank", "needed"), [(0.5, 6), (0.9, 29), (0.95, 59), (0.99, 299), (0.999, 2995), (1, 1)]
)
def test_a_percentile_needs_as_many_values_as_its_interval(rank, needed):
    """From 0.9 on: ln 0.05 / ln rank, rounded up."""
    assert metric.min_values(rank) == needed


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        *(("latency_ms.p99", "p99"), ("event3.latency_p50_ms", "p50"), ("lag_ms.p999", "p999")),
        *(("latency_ms.max", None), ("spread.chi2_p", None), ("share.replica-0", None)),
    ],
)
def test_the_percentile_that_a_metric_is(name, rank):
    assert metric.percentile_of(name) == rank


@given(st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.999]), st.integers(1, 4000))
def test_enough_values_enclose_the_percentile_nearly_always(rank, values):
    """All n values are above the percentile with (1 - rank)^n, all are below it with rank^n."""
    enclosed = 1 - rank**values - (1 - rank) ** values
    assert (enclosed >= 0.95) == (values >= metric.min_values(rank))


@given(COUNTS)
def test_spread_stays_within_its_bounds(counts):
    n = len(counts)
    assert 1 - 1e-9 <= metric.max_over_mean(counts) <= n + 1e-9
    assert 1 - 1e-9 <= metric.effective_replicas(counts) <= n + 1e-9
    assert 1 / n - 1e-9 <= metric.jain(counts) <= 1 + 1e-9
    assert -1e-9 <= metric.cv(counts) <= math.sqrt(n)
    assert 0 <= metric.max_off_fair(counts) <= sum(counts)


@given(COUNTS, st.randoms())
def test_spread_does_not_depend_on_the_order_of_replicas(counts, random):
    shuffled = random.sample(counts, len(counts))
    for of in (metric.max_over_mean, metric.cv, metric.jain, metric.max_off_fair, metric.chi2_p):
        assert of(shuffled) == (None if of(counts) is None else pytest.approx(of(counts)))


@given(st.integers(1, 64), st.integers(1, 1000))
def test_even_counts_and_all_on_one_are_the_extremes(n, requests):
    even, one = [requests] * n, [requests] + [0] * (n - 1)
    assert metric.max_over_mean(even) == 1
    assert metric.cv(even) == 0
    assert metric.max_off_fair(even) == 0
    assert metric.jain(even) == pytest.approx(1)
    assert metric.max_over_mean(one) == pytest.approx(n)
    assert metric.effective_replicas(one) == 1


@given(COUNTS)
def test_jain_and_cv_say_the_same(counts):
    """Jain's index is 1 / (1 + cv^2): the two formulas are written down independently."""
    assert metric.jain(counts) == pytest.approx(1 / (1 + metric.cv(counts) ** 2))


def test_hand_computed_spread():
    counts = [60, 20, 20, 0]
    assert metric.max_over_mean(counts) == 2.4
    assert metric.effective_replicas(counts) == pytest.approx(10_000 / 4_400)
    assert metric.max_off_fair(counts) == 35
    # Pearson: 4 x 5^2 / 25 = 4 with three degrees of freedom
    assert metric.chi2_p([30, 20, 20, 30]) == pytest.approx(0.26146, abs=1e-5)
    # 2 x 10^2 / 50 = 4 with one
    assert metric.chi2_p([60, 40]) == pytest.approx(0.0455, abs=1e-4)


def test_nothing_answered_has_no_spread():
    for of in (metric.max_over_mean, metric.cv, metric.jain, metric.max_off_fair, metric.chi2_p):
        assert of([0, 0]) is None
    assert metric.chi2_p([5]) is None  # one replica: nothing to compare


def test_cv_and_jain_by_hand():
    assert metric.cv([2, 4]) == pytest.approx(1 / 3)
    assert metric.cv([1, 1, 4]) == pytest.approx(math.sqrt(2) / 2)
    assert metric.jain([2, 4]) == pytest.approx(36 / 40)
    assert metric.max_off_fair([9, 1, 2]) == 5
    assert metric.max_off_fair([5, 5, 2]) == 2
    assert metric.mean_of([]) == 0
    assert metric.effective_replicas([0]) is None


def test_chi2_survival_of_two_degrees_is_an_exponential():
    for x in (0.5, 2, 9):
        assert metric.chi2_survival(x, 2) == pytest.approx(math.exp(-x / 2))
    assert [metric.chi2_survival(x, 2) for x in (0, -1)] == [1, 1]


def test_the_first_replicas_and_events_have_metrics_of_their_own():
    names = metrics.METRICS
    assert [f"share.replica-{number}" in names for number in (0, 7, 8)] == [True, True, False]
    assert [f"event{number}.requests" in names for number in (0, 1, 6, 7)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("event2.requests", (2, "requests")),
        ("event12.latency_p50_ms", (12, "latency_p50_ms")),
        ("event2.nothing", None),
        ("event.requests", None),
        ("eventful.requests", None),
        ("requests", None),
        ("spread.cv", None),
    ],
)
def test_a_metric_of_an_event_is_known_by_its_name(name, parts):
    assert event_metric(name) == parts


def test_every_metric_says_its_unit_and_meaning_in_one_line():
    for name, each in metrics.METRICS.items():
        assert each.unit, name
        assert each.meaning, name
        assert "\n" not in each.meaning


def test_what_can_be_expected_includes_every_unit_of_spread():
    for unit in ("connections", "sessions", "messages", "busy_time"):
        for name in ("max_over_mean", "cv", "effective_replicas"):
            assert f"{unit}.{name}" in metrics.METRICS
