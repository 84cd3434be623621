"""The quick form of each experiment of the lab: it has enough requests for what it judges."""

import pytest

from harness.cli.check import plan_text
from harness.metrics.metric import MIN_VALUES
from harness.spec.experiment import load_experiment, quick_overrides
from harness.spec.heads import experiment_names

# Arrivals are random: 299 planned ones are 2.5 standard deviations above 256.
LIKELY_LEAST = 256 / 299


@pytest.mark.parametrize("name", experiment_names())
def test_the_quick_form_has_enough_requests_for_its_percentiles(name: str) -> None:
    overrides = quick_overrides(load_experiment(name))
    if "workload.duration_s" in overrides:
        overrides["workload.duration_s"] *= LIKELY_LEAST
    assert "cannot be judged" not in plan_text(load_experiment(name, overrides))


def test_a_window_with_too_few_requests_is_named() -> None:
    short = load_experiment("zones_off", {"workload.duration_s": 2.0})
    assert f"p99 takes {MIN_VALUES['p99']} requests in a cell; about 280 are planned" in plan_text(short)
