"""Other methods of making an interval: compared with known values."""

import numpy as np
import pytest

from bench.interval_methods import METHODS, RESAMPLES, _rank_sums, rows, signed_ranks, student


def test_rank_sums_are_those_of_wilcoxon() -> None:
    assert _rank_sums(3) == [1, 1, 1, 2, 1, 1, 1]
    assert sum(_rank_sums(9)) == 2**9


def test_intervals_of_known_values() -> None:
    logs = np.array([[0.0, 1.0, 2.0]])
    low, high = student(logs)
    assert (low[0], high[0]) == pytest.approx((1 - 2.4841, 1 + 2.4841), abs=1e-4)
    assert [end[0] for end in signed_ranks(logs)] == [0, 2]
    # Nine values: the six smallest and largest of 45 Walsh averages are left out at 95 %.
    nine = np.array([[float(number) for number in range(9)]])
    averages = sorted((a + b) / 2 for a in range(9) for b in range(a, 9))
    assert [end[0] for end in signed_ranks(nine)] == [averages[5], averages[-6]]


def test_the_table_has_all_methods() -> None:
    found = list(rows(20, 1))
    assert RESAMPLES >= 400
    assert all(row.count("/") == len(METHODS) for row in found)
