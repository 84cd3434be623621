"""Figures of real runs (`--quick`, on a calm machine) against simulations.

The seed gives a simulation the calls of the real run: the same times and service times. What parts draw at
random differs. So a figure should lie in the band of nine of ten simulations. Of `zone_outage` each one has
calls of its own: with the same calls the arm `off` leaves nothing to chance, and real events are some
milliseconds late.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

import tests.simulator.kernels  # noqa: F401
from harness.metrics.registry import METRICS
from harness.plan.cells import CellPlan, load_of, plan_cells
from harness.spec.experiment import Experiment, load_experiment, quick_overrides
from harness.testbed.simulated.model import calls_of, draw_calls, system_of
from harness.testbed.simulated.predict import bands_of, metrics_of, predicted_cell

SIMULATIONS = 19
OWN_CALLS = ("zone_outage",)
ROOM_MS = 2.5  # what network and client took besides the costs that the simulator assumes

MEASURED: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("hedging", "no_hedging"): {"attempts.per_request": 1, "latency_ms.p50": 21.8, "latency_ms.p95": 502.2},
    ("hedging", "after_100_ms"): {
        **{"attempts.per_request": 1.091, "latency_ms.p50": 21.7, "latency_ms.p95": 121.9},
        **{"spread.max_over_mean": 1.096, "affinity.purity": 0.2968},
    },
    ("hedging", "at_once"): {
        **{"attempts.per_request": 2, "latency_ms.p50": 21.9, "latency_ms.p95": 23.8},
        **{"spread.max_over_mean": 1.187, "affinity.purity": 0.3425},
    },
    ("probing", "round_robin"): {"latency_ms.p50": 157.4, "latency_ms.p90": 928.1, "latency_ms.p99": 1131.2},
    ("probing", "two_choices"): {
        **{"latency_ms.p50": 145.1, "latency_ms.p90": 805.2, "latency_ms.p99": 1160.9},
        **{"queue_ms.p99": 952.6, "spread.max_over_mean": 1.1512},
    },
    ("probing", "probing"): {
        **{"latency_ms.p50": 151.4, "latency_ms.p90": 401.7, "latency_ms.p99": 1146.7},
        **{"queue_ms.p99": 745.4, "spread.max_over_mean": 1.3406},
    },
    ("zone_outage", "on"): {
        **{"event1.error_share": 0.1188, "event1.last_failure_ms": 360.3, "event2.first_answer_ms": 393.2},
        **{"event2.target_share": 0.3968, "zones.crossed_share": 0.5021, "spread.max_over_mean": 1.415},
    },
    ("zone_outage", "off"): {
        **{"event1.error_share": 0.5019, "event1.last_failure_ms": 1388, "event2.first_answer_ms": 74.75},
        **{"event2.target_share": 0.5, "zones.crossed_share": 0, "spread.max_over_mean": 1.223},
    },
    ("zone_outage", "spill_over"): {
        **{"event1.error_share": 0.1111, "event1.last_failure_ms": 309.8, "event2.first_answer_ms": 365.8},
        **{"event2.target_share": 0.3903, "zones.crossed_share": 0.186, "spread.max_over_mean": 1.413},
    },
}
# Both attempts end together. Which one is first is decided by less than the simulator knows of.
NOT_PREDICTED = {("hedging", "at_once"): {"spread.max_over_mean", "affinity.purity"}}


def simulated(experiment: Experiment, plan: CellPlan) -> Iterator[dict[str, float]]:
    drawn = draw_calls(experiment, plan)
    for seed in range(1, SIMULATIONS + 1):
        if experiment.name in OWN_CALLS:
            plan = replace(plan, repeat=seed, load=load_of(plan.workload, experiment.seed, seed))
            drawn = draw_calls(experiment, plan)
        system, (calls, _) = system_of(experiment, plan), calls_of(experiment, plan, drawn)
        yield metrics_of(
            experiment, plan, predicted_cell(experiment, plan, replace(system, seed=seed), calls)
        )


@pytest.mark.parametrize(("name", "arm"), MEASURED)
def test_what_was_measured_lies_in_the_band(name: str, arm: str) -> None:
    experiment = load_experiment(name, quick_overrides(load_experiment(name)))
    plan = next(plan for plan in plan_cells(experiment) if plan.arm_name == arm and plan.repeat == 1)
    bands = bands_of(list(simulated(experiment, plan)))
    outside = set()
    for metric, value in MEASURED[name, arm].items():
        band, room = bands[metric], ROOM_MS if METRICS[metric].unit == "ms" else 1e-3
        assert band.low is not None and band.high is not None
        if not band.low - room <= value <= band.high + room:
            outside.add(metric)
    assert outside == NOT_PREDICTED.get((name, arm), set())
