"""The planner's question: every bad input is one line, before anything is computed."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserError
from harness.plan.question import (
    LEAST_SECONDS,
    MAX_REQUESTS,
    FleetQuestion,
    Objective,
    parse_duration_ms,
    parse_objective,
    question_of,
)
from harness.spec.experiment import load_experiment

QUESTION = FleetQuestion(clients=600, rate_per_s=1500, skew=0.8, targets=12, service_ms=40)


@pytest.mark.parametrize(
    ("field", "value", "option"),
    [
        ("clients", 0, "--clients"),
        ("clients", 10**7, "--clients"),
        ("targets", 0, "--targets"),
        ("targets", -3, "--targets"),
        ("targets", 10**9, "--targets"),
        ("slots", 0, "--slots"),
        ("rate_per_s", math.nan, "--rate"),
        ("rate_per_s", math.inf, "--rate"),
        ("rate_per_s", 0.0, "--rate"),
        ("rate_per_s", 1e8, "--rate"),
        ("skew", math.nan, "--skew"),
        ("skew", -0.1, "--skew"),
        ("service_ms", 0.0, "--service-time"),
        ("service_ms", math.nan, "--service-time"),
        ("seconds", math.nan, "--seconds"),
        ("seconds", 1e6, "--seconds"),
    ],
)
def test_what_cannot_be_asked_is_one_line(field: str, value: Any, option: str) -> None:
    with pytest.raises(UserError, match=rf"^{option}.*expected ") as caught:
        replace(QUESTION, **{field: value})
    assert "\n" not in str(caught.value)


@given(rate=st.floats(0.001, MAX_REQUESTS / LEAST_SECONDS))
def test_the_requests_of_a_placement_are_bounded_whatever_the_rate(rate: float) -> None:
    assert rate * replace(QUESTION, rate_per_s=rate).duration_s <= MAX_REQUESTS * (1 + 1e-9)


def test_a_slow_load_lasts_until_a_percentile_says_something() -> None:
    assert replace(QUESTION, rate_per_s=1).duration_s == 2000
    assert QUESTION.duration_s == 60


@pytest.mark.parametrize(("text", "ms"), [("40ms", 40), ("0.2s", 200), (" 1 min ", 60_000), ("500us", 0.5)])
def test_a_time_has_a_unit(text: str, ms: float) -> None:
    assert parse_duration_ms(text, "--service-time") == ms


@pytest.mark.parametrize("text", ["40", "", "ms", "4 0ms", "nanms", "-4ms", "40 sec"])
def test_a_time_without_one_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"^--service-time: .*expected a time with a unit"):
        parse_duration_ms(text, "--service-time")


def test_an_objective_is_a_percentile_and_a_time() -> None:
    assert parse_objective("p999 = 1s") == Objective("p999", 1000)
    for text in ("300ms", "p98=300ms", "p99", "p99=0ms"):
        with pytest.raises(UserError, match=r"^--slo: "):
            parse_objective(text)
    assert QUESTION.goal == Objective("p99", 400)


def test_an_experiment_file_is_a_question() -> None:
    found = question_of(load_experiment("sticky"))
    assert (found.clients, found.targets, found.target_per_s, found.utilisation) == (12, 4, 200, 0.75)
    (note,) = question_of(load_experiment("unequal_requests")).notes
    assert note == "All requests are alike: dear ones are left out, and with them the long waits."
    crowd = question_of(load_experiment("flash_crowd"))
    assert crowd.rate_per_s == 600
    assert crowd.notes[0] == "The rate changes: this is for its peak. The mean is 265.6/s."
    with pytest.raises(UserError, match="closed loop"):
        question_of(
            load_experiment("retry_storm", {"workload.rate_per_s": None, "workload.think_time_ms": 1})
        )
