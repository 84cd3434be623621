"""The measured window step by step, compared with counts by hand."""

import math

import polars as pl

from harness.analysis.window_series import MAX_SESSIONS, window_series_of
from tests.unit.synthetic.handwritten_cell import MS

NOBODY = None


def rows(*requests):
    """client, request number, at ms, took ms, replica or NOBODY, ok; session 0."""
    return pl.DataFrame(
        [
            {
                "client": client,
                "session": 0,
                "request_id": client * 10**9 + number,
                "replica": replica,
                "ok": ok,
                "at_ns": at_ms * MS,
                "latency_ns": took_ms * MS,
            }
            for client, number, at_ms, took_ms, replica, ok in requests
        ],
        schema_overrides={"replica": pl.UInt16},
    )


def test_steps_by_hand():
    """One second is cut into 50 steps of 20 ms, 80 at the most."""
    series = window_series_of(
        rows(
            (0, 0, 0, 4, 1, True),
            (0, 1, 19, 2, 1, True),
            (0, 2, 19, 9, NOBODY, False),
            (0, 3, 20, 7, 0, True),
            (0, 4, 999, 5, 0, False),
            (0, 5, 1000, 6, 0, True),  # at the very end: it belongs to the last step
        ),
        1.0,
    )
    assert series.width_s == 0.02
    assert series.starts_s.tolist() == [step * 0.02 for step in range(50)]
    assert series.good.tolist() == [2, 1, *[0] * 47, 1]
    assert series.failed.tolist() == [1, 0, *[0] * 47, 1]
    assert [value / MS for value in series.p50_ns[[0, 1, 49]]] == [4, 7, 6]
    assert [value / MS for value in series.max_ns[[0, 1, 49]]] == [4, 7, 6]  # of those with OK
    assert all(math.isnan(value) for value in [*series.p50_ns[2:49], *series.max_ns[2:49]])
    assert series.sessions == [(0, 0)]
    assert series.replicas.tolist() == [[1, 0, *[-1] * 47, 0]]
    assert series.failures.tolist() == [[1, 0, *[0] * 47, 1]]


def test_a_window_that_no_width_divides_has_a_step_for_what_is_left():
    assert len(window_series_of(rows((0, 0, 0, 1, 0, True)), 1.01).good) == 51


def test_a_step_has_the_replica_of_its_last_answer():
    series = window_series_of(
        rows((0, 2, 3, 1, NOBODY, False), (0, 1, 2, 1, 2, True), (0, 0, 1, 1, 1, True)), 1.0
    )  # in any order of rows
    assert series.replicas[0, 0] == 2
    assert series.failures[0, 0] == 1


def test_a_ribbon_goes_by_the_replica_that_answered_first():
    series = window_series_of(
        rows(
            (0, 0, 0, 1, 3, True),
            (1, 0, 0, 1, NOBODY, False),  # its first answer comes later
            (1, 1, 1, 1, 0, True),
            (1, 2, 2, 1, 3, True),
            (2, 0, 0, 1, NOBODY, False),  # never answered: last
            (3, 0, 0, 1, 1, True),
            (4, 0, 0, 1, 1, True),
        ),
        1.0,
    )
    assert series.sessions == [(1, 0), (3, 0), (4, 0), (0, 0), (2, 0)]
    assert series.replicas[:, 0].tolist() == [3, 1, 1, 3, -1]


def test_the_sessions_that_lasted_longest_are_shown_and_the_lower_numbers_among_equals():
    clients = range(MAX_SESSIONS + 6)
    first = [(client, 0, 100, 1, 0, True) for client in clients]
    later = [(client, 1, 900, 1, 0, True) for client in clients if client >= 10]
    series = window_series_of(rows(*first, *later), 1.0)
    lasting = [(client, 0) for client in clients if client >= 10]
    assert series.sessions == [*((client, 0) for client in range(MAX_SESSIONS - len(lasting))), *lasting]


def test_sessions_of_one_client_are_rows_of_their_own():
    table = rows(*((0, number, 10 * number, 1, number % 2, True) for number in range(MAX_SESSIONS + 3)))
    series = window_series_of(table.with_columns(pl.col("request_id").alias("session")), 1.0)
    # No session lasted longer than the others, so the lowest numbers are shown, first replica first.
    shown = range(MAX_SESSIONS)
    assert series.sessions == [(0, number) for number in (*shown[::2], *shown[1::2])]
