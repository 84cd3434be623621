"""Figures next to a bound: two numbers look equal only if they are equal."""

import pytest

from harness.analysis.claims import interval_in_words, shown_apart
from harness.analysis.statistics import Interval


@pytest.mark.parametrize(
    ("value", "bound", "text"),
    [
        (1.02, 1.02, "1.02"),
        (1.0200001, 1.02, "1.0200001"),
        (1.01996, 1.02, "1.01996"),
        (1000.4, 1000.0, "1,000.4"),
        (1234567.25, 1234567.0, "1,234,567.2"),
        (0.99998, 1.0, "0.99998"),
        (12.34567, 3.0, "12.35"),
        (0.1 + 0.2, 0.3, "0.30000000000000004"),
    ],
)
def test_more_digits_where_a_figure_would_read_like_the_bound(value: float, bound: float, text: str) -> None:
    assert shown_apart(value, bound) == text


def test_the_unit_is_kept() -> None:
    assert shown_apart(50.0004, 50, "ms") == "50.0004 ms"
    assert shown_apart(50.0004, unit="ms") == "50 ms"


def test_an_interval_in_words() -> None:
    assert interval_in_words(Interval(2.7, 3.4), 3) == "2.7 to 3.4"
    assert interval_in_words(Interval(3.0, 3.00001), 3) == "3 to 3.00001"
    assert interval_in_words(Interval(0.25, 0.25), 0.3) == "0.25"
    assert interval_in_words(Interval(1.0, float("inf")), 3) == "1 to infinity"
