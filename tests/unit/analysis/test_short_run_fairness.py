"""Evenness in the short run: strict turns, random picks, all on one replica."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.window_series import short_run_unfairness


def rows(replicas: list[int]) -> pl.DataFrame:
    return pl.DataFrame({"at_ns": range(len(replicas)), "replica": replicas})


def test_strict_turns_are_never_off() -> None:
    assert short_run_unfairness(rows([0, 1, 2, 3] * 6), 4) == 0
    assert short_run_unfairness(rows([2, 3, 0, 1] * 6), 4) == 0


def test_all_on_one_is_off_by_all_the_others_turns() -> None:
    assert short_run_unfairness(rows([1] * 24), 4) == 9


def test_even_in_the_long_run_and_not_in_the_short() -> None:
    assert short_run_unfairness(rows([0] * 6 + [1] * 6), 2) == 3


def test_the_order_is_that_of_the_plan() -> None:
    in_turn = rows([0, 1] * 12)
    assert short_run_unfairness(in_turn.sample(fraction=1, shuffle=True, seed=1), 2) == 0


def test_without_a_whole_round_there_is_no_figure() -> None:
    assert short_run_unfairness(rows([0, 1] * 2), 2) is None
    assert short_run_unfairness(rows([0, 1] * 4), 2) == 0, "what is left over does not count"


@given(st.lists(st.integers(0, 2), min_size=9, max_size=90))
def test_between_even_and_all_on_one(replicas: list[int]) -> None:
    off = short_run_unfairness(rows(replicas), 3)
    assert off is not None
    assert 0 <= off <= 6
    named_otherwise = short_run_unfairness(rows([(replica + 1) % 3 for replica in replicas]), 3)
    assert named_otherwise == pytest.approx(off)
