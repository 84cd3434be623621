"""Where a search looks next, on conditions that hold below some value and fail above it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.plan.search import (
    MAX_VALUE,
    UNKNOWN_STEP,
    Bracket,
    bracket_of,
    contradiction_of,
    next_value,
)

RATES = st.floats(1, 20_000)
SHARES = st.floats(0.01, 0.5)


def searched(limit, guess, within, step, most=60, undecided=()):
    """Search a condition that holds up to `limit`. undecided: (from, to) of values that cannot say."""
    outcomes = {}
    while len(outcomes) < most and (value := next_value(outcomes, guess, within, step)) is not None:
        assert value not in outcomes
        assert 0 < value <= MAX_VALUE
        hidden = undecided and undecided[0] <= value <= undecided[1]
        outcomes[value] = None if hidden else value <= limit
    return outcomes


@given(limit=RATES, guess=RATES, within=SHARES, step=SHARES)
def test_the_limit_lies_in_a_bracket_as_narrow_as_asked(limit, guess, within, step):
    bracket = bracket_of(searched(limit, guess, within, step))
    assert bracket.low <= limit < bracket.high
    assert bracket.is_within(within)
    assert bracket.low <= bracket.middle <= bracket.high


@given(limit=RATES, within=st.floats(0.1, 0.5), error=st.floats(-0.3, 0.3))
def test_a_good_guess_takes_two_cells(limit, within, error):
    guess = limit * (1 + within) ** error
    assert len(searched(limit, guess, within, within)) <= 3  # values are rounded to three digits
    exactly = searched(200.0, 200.0, 0.1, 0.1)
    assert list(exactly) == [191.0, 210.0]


@given(limit=RATES, guess=RATES)
def test_a_bad_guess_takes_few_cells(limit, guess):
    assert len(searched(limit, guess, 0.05, UNKNOWN_STEP)) <= 20


@given(limit=RATES, guess=RATES, width=st.floats(0.0, 0.2))
def test_undecided_values_stay_in_the_bracket(limit, guess, width):
    hidden = (limit * (1 - width), limit * (1 + width))
    outcomes = searched(limit, guess, 0.05, UNKNOWN_STEP, undecided=hidden)
    bracket = bracket_of(outcomes)
    assert bracket.low <= limit < bracket.high
    if bracket.is_closed:
        inside = [value for value in outcomes if bracket.low < value < bracket.high]
        edges = [bracket.low, *sorted(inside), bracket.high]
        assert all(outcomes[value] is None for value in inside)
        # Nothing between the ends and the undecided values is left to look at.
        assert edges[1] <= edges[0] * 1.06
        assert edges[-1] <= edges[-2] * 1.06


def test_steps_grow_only_from_values_that_were_judged():
    assert next_value({100.0: True, 150.0: True}, 100.0, 0.05, 0.5) == 300.0
    assert next_value({100.0: True, 150.0: None}, 100.0, 0.05, 0.5) == 225.0
    assert next_value({100.0: False, 66.7: False}, 100.0, 0.05, 0.5) == 33.4
    assert next_value({100.0: False, 66.7: None}, 100.0, 0.05, 0.5) == 44.5
    assert next_value({100.0: True, 150.0: None, 225.0: None}, 100.0, 0.05, 0.5) is None


def test_what_no_cell_can_say_ends_the_search():
    outcomes = searched(1e9, 100.0, 0.05, 0.05, undecided=(0, 1e9))
    assert set(outcomes.values()) == {None}
    assert len(outcomes) == 2
    assert bracket_of(outcomes) == Bracket(0.0, math.inf)


def test_a_condition_that_always_or_never_holds_ends_at_what_an_experiment_may_have():
    always = searched(math.inf, 90_000.0, 0.05, UNKNOWN_STEP)
    assert set(always.values()) == {True}
    assert max(always) <= MAX_VALUE
    assert not bracket_of(always).is_closed
    never = bracket_of(searched(0.0, 100.0, 0.05, UNKNOWN_STEP, most=8))
    assert (never.low, never.is_closed, never.middle) == (0.0, False, never.high)


@pytest.mark.parametrize(
    ("outcomes", "bracket", "contradiction"),
    [
        ({}, Bracket(0.0, math.inf), None),
        ({100.0: True}, Bracket(100.0, math.inf), None),
        ({100.0: True, 110.0: False}, Bracket(100.0, 110.0), None),
        ({100.0: True, 105.0: None, 110.0: False}, Bracket(100.0, 110.0), None),
        ({100.0: True, 120.0: False, 150.0: True, 200.0: False}, Bracket(100.0, 200.0), (120.0, 150.0)),
        ({120.0: False, 150.0: True}, Bracket(0.0, math.inf), (120.0, 150.0)),
    ],
)
def test_contradicting_cells_widen_the_bracket(outcomes, bracket, contradiction):
    assert bracket_of(outcomes) == bracket
    assert contradiction_of(outcomes) == contradiction
