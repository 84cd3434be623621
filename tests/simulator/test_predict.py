"""Predictions: the same metrics as a run has, bands with the coverage that they claim, and reasons."""

import math
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tests.simulator.kernels  # noqa: F401
from harness.analysis.facts import collect_facts
from harness.metrics.registry import METRICS
from harness.plan.cells import plan_cells
from harness.record.machine_costs import MachineCosts, RunCosts
from harness.record.prediction import BAND_SHARE
from harness.spec.experiment import load_experiment
from harness.testbed.simulated import predict as predicting
from harness.testbed.simulated.model import calls_of, system_of
from harness.testbed.simulated.predict import (
    SIMULATIONS,
    bands_of,
    metrics_of,
    predict,
    predicted_cell,
    simulations_for,
)
from harness.testbed.simulated.predicted_metrics import PREDICTED
from tests.simulator.test_simulated_runs import simulated

SHORT = {"workload.duration_s": 1.0, "workload.warm_up_s": 0.2, "repeats": 1}  # of a cell
COSTS = MachineCosts(seen={"local/envoy": [RunCosts(to_proxy=1.0, to_replica=2.0, way_back=4.0)]})


@pytest.mark.parametrize(
    "name", ["sticky_vs_cache", "black_hole", "ramp_to_the_knee", "scale_out", "hedging", "zone_outage"]
)
def test_a_predicted_metric_is_that_of_a_run(name: str, tmp_path: Path) -> None:
    """The metrics are computed twice, by two programs: from arrays here, from ledgers there."""
    events_need_s = {"zone_outage": 4.0}
    duration_s = events_need_s.get(name, SHORT["workload.duration_s"])
    experiment = load_experiment(name, SHORT | {"workload.duration_s": duration_s})
    cells = {cell.record.arm: cell for cell in simulated(experiment, tmp_path).cells}
    for plan in plan_cells(experiment):
        if plan.arm_name not in cells:
            continue
        facts = collect_facts(cells[plan.arm_name])
        system, (calls, _) = system_of(experiment, plan), calls_of(experiment, plan)
        found = metrics_of(experiment, plan, predicted_cell(experiment, plan, system, calls))
        assert len(found) > 20
        for metric, value in found.items():
            assert METRICS[metric].compute(facts) == pytest.approx(value, abs=1e-9), (plan.arm_name, metric)
        missing = set(PREDICTED) - set(found)
        assert all(METRICS[metric].compute(facts) is None for metric in missing)


def test_sticky_is_predicted_with_a_band_for_each_arm() -> None:
    found = predict(load_experiment("sticky", SHORT), "local", MachineCosts())
    assert found.skipped is None
    assert found.costs.startswith("fixed costs of proxy and network: not known for every route yet")
    sticky, turns = found.arms["sticky"], found.arms["round_robin"]
    assert sticky.simulations == turns.simulations == 39
    assert not sticky.calibrated
    busiest = sticky.metrics["spread.max_over_mean"]
    assert 1.2 < float(busiest.low or 0) < float(busiest.median or 0) < float(busiest.high or 0) < 3.5
    assert turns.metrics["spread.max_over_mean"].high == pytest.approx(1, abs=0.02)
    assert sticky.metrics["affinity.purity"].low == 1


def test_a_rate_that_changes_is_predicted_by_its_peak() -> None:
    """On average the fleet of the ramp has capacity to spare; at the end it has not."""
    slow = {"workload.rate_per_s": {"shape": "ramp", "start_per_s": 80, "end_per_s": 300}}
    ramp, short = (
        predict(load_experiment("ramp_to_the_knee", SHORT | rate), "local", MachineCosts()).arms
        for rate in ({}, slow)
    )
    assert (ramp["least_request"].overload, short["least_request"].overload) == (1, 0)
    assert "knee_per_s" not in short["least_request"].metrics


def test_known_costs_make_every_latency_longer() -> None:
    experiment = load_experiment("sticky", SHORT | {"workload.rate_per_s": 300.0})
    bare, calibrated = (predict(experiment, "local", costs).arms for costs in (MachineCosts(), COSTS))
    arm = "round_robin"
    before, after = (arms[arm].metrics["latency_ms.p50"].median for arms in (bare, calibrated))
    assert float(after or 0) - float(before or 0) == pytest.approx(7, abs=1)
    assert calibrated[arm].calibrated


def test_what_is_not_modelled_is_named() -> None:
    found = predict(load_experiment("streams", SHORT), "local", MachineCosts())
    reasons = {name: arm.not_modelled for name, arm in found.arms.items() if not arm.simulations}
    assert reasons
    assert all(reasons.values())


def test_a_run_that_is_too_large_is_skipped_with_the_reason() -> None:
    found = predict(load_experiment("sticky", {"workload.duration_s": 60}), "local", MachineCosts())
    assert found.skipped is not None
    assert found.skipped.startswith("a repeat has about 73,")
    assert not found.arms


@given(calls=st.floats(1, 1e7))
def test_the_number_of_simulations_keeps_the_budget(calls: float) -> None:
    count = simulations_for(calls)
    assert count in (None, *SIMULATIONS)
    assert count is None or count * calls <= predicting.CALLS_IN_BUDGET
    assert count == SIMULATIONS[0] or calls * SIMULATIONS[0] > predicting.CALLS_IN_BUDGET


@pytest.mark.parametrize("count", SIMULATIONS)
def test_nine_of_ten_new_cells_lie_in_a_band(count: int) -> None:
    draw, inside, rounds = random.Random(7), 0, 3000
    for _ in range(rounds):
        band = bands_of([{"x": draw.gauss(0, 1)} for _ in range(count)])["x"]
        assert band.low is not None and band.high is not None
        inside += band.low <= draw.gauss(0, 1) <= band.high
    assert inside / rounds == pytest.approx(BAND_SHARE, abs=4 * math.sqrt(0.09 / rounds))


def test_a_metric_that_some_cells_lack_has_no_band_and_infinity_is_kept() -> None:
    cells = [{"x": 1.0, "y": math.inf}, *({"y": float(number)} for number in range(18))]
    bands = bands_of(cells)
    assert list(bands) == ["y"]
    assert bands["y"].high == math.inf
