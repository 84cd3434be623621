"""Time windows, percentiles, shares and healthy replicas, at the edges of what they count."""

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.sessions import fair_share_after
from harness.analysis.statistics import percentiles, reported_percentiles
from harness.analysis.window_series import healthy_replicas, replica_series_of
from harness.metrics.facts import Healthy
from harness.metrics.metric import window_width_s
from tests.unit.synthetic.handwritten_cell import MS, endpoint


@pytest.mark.parametrize(
    ("duration_s", "width_s"),
    [(0.03, 0.001), (0.3, 0.01), (3, 0.1), (3.01, 0.2), (6, 0.2), (6.01, 0.5), (15, 0.5), (15.1, 1), (60, 2)],
)
def test_a_window_is_cut_into_thirty_at_most(duration_s, width_s):
    assert window_width_s(duration_s) == pytest.approx(width_s)


@pytest.mark.parametrize(("most", "width_s"), [(10, 0.1), (5, 0.2), (2, 0.5), (1, 1)])
def test_or_into_as_many_as_asked_for(most, width_s):
    assert window_width_s(1, most) == pytest.approx(width_s)


def test_a_timeline_by_hand():
    answered = pl.DataFrame(
        {
            "at_ns": [0, 49 * MS, 50 * MS, 1009 * MS],
            "replica": [0, 0, 1, 1],
            "queue_ns": [1, 3, 5, 7],
            "in_flight": [1, 4, 2, 9],
        }
    )
    timeline = replica_series_of(answered, answered, 2, 1.01)
    assert (timeline.width_s, timeline.requests.shape) == (0.05, (21, 2))
    assert timeline.starts_s.tolist() == [window * 0.05 for window in range(21)]
    assert timeline.requests[[0, 1, 20]].tolist() == [[2, 0], [0, 1], [0, 1]]
    assert timeline.requests.sum() == 4
    assert (timeline.queue_ns[0, 0], timeline.in_flight[0, 0]) == (3, 2.5)
    assert (timeline.queue_ns[20, 1], timeline.in_flight[20, 1]) == (7, 9)
    assert all(math.isnan(table[0, 1]) for table in (timeline.queue_ns, timeline.in_flight))


def test_queues_over_time_are_of_all_attempts_and_requests_of_answers():
    columns = {"at_ns": pl.Int64, "replica": pl.UInt16, "queue_ns": pl.Int64, "in_flight": pl.Int32}
    answered = pl.DataFrame([(0, 0, 1, 1)], schema=columns, orient="row")
    attempts = pl.DataFrame([(0, 0, 1, 1), (0, 0, 90, 5), (0, 1, 7, 2)], schema=columns, orient="row")
    timeline = replica_series_of(answered, attempts, 2, 1.0)
    assert timeline.requests[0].tolist() == [1, 0]
    assert timeline.queue_ns[0].tolist() == [90, 7]
    assert timeline.in_flight[0].tolist() == [3, 2]


def test_percentiles_are_exact_where_they_fall_on_a_value():
    values = pl.Series(range(1, 1001)).shuffle(seed=1)
    found = percentiles(values)
    assert found == {"p50": 500, "p90": 900, "p95": 950, "p99": 990, "p999": 999, "max": 1000}
    assert percentiles(values.filter(values <= 11))["p50"] == 6
    assert set(percentiles(pl.Series([7])).values()) == {7}
    assert percentiles(pl.Series([], dtype=pl.Int64)) == {}


@given(values=st.lists(st.integers(0, 9), max_size=400))
def test_only_percentiles_of_enough_values_are_reported(values):
    series = pl.Series(values, dtype=pl.Int64)
    found, limits = reported_percentiles(series), {"p50": 6, "p90": 29, "p95": 59, "p99": 299, "p999": 2995}
    assert found == {
        name: value for name, value in percentiles(series).items() if len(values) >= limits.get(name, 1)
    }


def shares(counts, present=2, targets=(1,), from_ms=100, width_ms=10, more_ms=0):
    """counts: of replica 0 and of replica 1 in each window of 10 ms."""
    rows = [
        {"at_ns": (from_ms + window * width_ms) * MS + place, "replica": replica}
        for window, each in enumerate(counts)
        for replica, count in enumerate(each)
        for place in range(count)
    ]
    answered = pl.DataFrame(rows, schema={"at_ns": pl.Int64, "replica": pl.Int64})
    to_ns = (from_ms + len(counts) * width_ms + more_ms) * MS
    return fair_share_after(answered, from_ms * MS, to_ns, width_ms * MS, list(targets), present) / MS


def test_four_fifths_of_the_fair_share_are_enough():
    assert shares([(7, 3), (6, 4), (5, 5)]) == 20
    assert shares([(61, 39), (62, 38)]) == 20  # never: the whole interval


def test_each_of_several_targets_needs_its_share():
    assert shares([(6, 4), (4, 6), (2, 8)], targets=(0, 1)) == 10
    assert shares([(3, 7), (4, 6), (5, 5)], targets=(0, 1)) == 20


def test_windows_of_few_answers_say_nothing():
    assert shares([(1, 2), (2, 2), (5, 5)]) == 20  # two answers a replica are enough
    assert shares([(2, 1), (1, 2)]) == 20


def test_what_comes_before_or_is_left_over_does_not_count():
    assert shares([(9, 1), (9, 1)], more_ms=9) == 29
    assert shares([(10, 0), (5, 5)], from_ms=0) == 20
    late = pl.DataFrame({"at_ns": [99 * MS, *[125 * MS] * 8], "replica": [1, *[1] * 8]})
    assert fair_share_after(late, 100 * MS, 129 * MS, 10 * MS, [1], 2) == 29 * MS
    assert fair_share_after(late, 100 * MS, 130 * MS, 10 * MS, [1], 2) == 30 * MS


def test_without_a_window_a_target_or_a_replica_it_never_comes():
    assert shares([], more_ms=9) == 9
    assert shares([(5, 5)], targets=()) == shares([(5, 5)], present=0) == 10


def healthy(*changes, initial="abc", start_ms=0, end_ms=1000):
    lines = [endpoint(at_ms, replica, state) for at_ms, replica, state in changes]
    return healthy_replicas(lines, initial, start_ms * MS, end_ms * MS)


def test_healthy_replicas_least_and_mean_by_hand():
    first = [(1, "a", "healthy"), (2, "b", "healthy"), (26, "c", "unhealthy")]
    assert healthy(*first) == Healthy(2, 2.0)
    assert healthy(*first, (500, "c", "healthy")) == Healthy(2, 2.5)
    assert healthy(*first, (250, "a", "unhealthy"), (750, "a", "healthy")) == Healthy(1, 1.5)


def test_the_first_state_of_a_replica_counts_from_the_start_however_late_it_was_written_down():
    """On a busy machine the lab wrote the lines of one look 78 ms apart; two of four were counted."""
    assert healthy((0, "a", "healthy"), (78, "b", "healthy")) == Healthy(2, 2.0)
    assert healthy((0, "a", "healthy"), (78, "b", "absent")) == Healthy(1, 1.0)


def test_a_replica_that_joins_later_counts_from_its_line():
    assert healthy((0, "a", "healthy"), (26, "b", "healthy"), initial="a") == Healthy(1, pytest.approx(1.974))


def test_what_was_known_when_measuring_began_counts_from_there():
    lines = [(0, "a", "healthy"), (50, "b", "healthy"), (100, "a", "absent"), (600, "a", "healthy")]
    assert healthy(*lines, start_ms=100, end_ms=1100) == Healthy(1, 1.5)


def test_what_comes_at_the_end_does_not_count():
    lines = [(0, "a", "healthy"), (1000, "a", "absent"), (1001, "b", "healthy")]
    assert healthy(*lines, initial="a") == Healthy(1, 1.0)
    assert healthy((0, "a", "healthy"), (999, "a", "absent")) == Healthy(0, pytest.approx(0.999))


def test_nothing_seen_or_no_time_at_all_is_not_known():
    assert healthy() == healthy((0, "a", "healthy"), start_ms=5, end_ms=5) == Healthy(None, None)
