"""Predicts runs, before anything of them is measured: see `serve`.

It works in a process of its own (harness.run.prediction_process): numba's import and the simulations leave
the process that plays the runs as it was. It reads the experiment of a run directory and writes
prediction.json there.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.events.registry import kind_of
from harness.fields import PROXIED, replica_number
from harness.metrics.registry import CAPACITY
from harness.output.safe_text import say
from harness.plan.capacity import capacity_per_s, relative_costs
from harness.plan.cells import CellPlan, load_of, plan_cells
from harness.plan.rate_path import planned_rates
from harness.record.machine_costs import MachineCosts, known_costs, read_costs
from harness.record.prediction import BAND_SHARE, NOT_COMPILED, PREDICTION, ArmPrediction, Band, Prediction
from harness.record.record_file import write_record
from harness.record.run_directory import read_run
from harness.spec.experiment import Experiment, Workload
from harness.testbed.simulated.limits import not_modelled
from harness.testbed.simulated.model import (
    DrawnCalls,
    calls_of,
    draw_calls,
    happenings,
    system_of,
    zones_by_number,
)
from harness.testbed.simulated.predicted_events import PredictedEvent, metrics_of_events
from harness.testbed.simulated.predicted_metrics import PREDICTED, PredictedCell, predicted_metrics
from lb.plan import NS_PER_S

if TYPE_CHECKING:
    from simulator.system import Calls, Costs, System

# With so many cells the ends of the band are the k-th smallest and largest: k = 2 of 39, 1 of 19.
SIMULATIONS = (39, 19)
CALLS_IN_BUDGET = 200_000  # two seconds of one core, with 10 us to draw and simulate a call
SEARCHED_CALLS_IN_BUDGET = 300_000  # three seconds: the cells of a search share their calls
PORTS = (32_768, 60_999)  # replicas get their ports from here, and ports decide where hashed keys go
# Of what all replicas serve, the highest rate that is tried: a short cell may keep its objective above that.
MAX_TIMES_SERVED = 1.25
MAX_TIMES_RATE = 4.0  # of the workload's rate: the highest that is tried where replicas can serve any rate


def serve() -> None:
    """Predict the runs whose directories standard input names, until it closes.

    Each line is a path as JSON. For each the process writes a line: null once prediction.json is there, or
    why there is none. In between it computes nothing.
    """
    for line in sys.stdin:
        try:
            write_prediction(Path(json.loads(line)))
            reason = None
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        say(json.dumps(reason))


def prepare() -> None:
    """Load the machine code that every prediction needs, unless it would have to be compiled first."""
    from simulator.compiled import is_compiled

    if is_compiled("engine.run"):
        from simulator.compile_now import simulate_three_calls
        from simulator.system import Policy

        simulate_three_calls(Policy("proxy", "round_robin"))


def write_prediction(run: Path) -> None:
    """Write prediction.json of a run directory."""
    from simulator.compiled import is_compiled

    stored = read_run(run)
    if is_compiled("engine.run"):
        prediction = predict(stored.experiment, stored.manifest.testbed, read_costs())
    else:
        prediction = Prediction(skipped=NOT_COMPILED)
    write_record(run / PREDICTION, prediction)


def predict(
    experiment: Experiment, testbed: str, costs: MachineCosts, counts: Sequence[int] = SIMULATIONS
) -> Prediction:
    """Return the bands of all arms; of none where the run is too large for the time there is.

    counts: how many simulations of each arm there may be, the most first.
    """
    if experiment.search is not None:
        metric = experiment.search.condition.metric
        if metric not in PREDICTED:
            return Prediction(skipped=f"the simulator does not predict {metric}, which the search looks at")
        experiment = at_the_highest_rate(experiment)
    first = {plan.arm_name: plan for plan in plan_cells(experiment) if plan.repeat == 1}
    plans = {name: first[name] for name in experiment.variants}
    reasons = {name: not_modelled(experiment, plan.arm) for name, plan in plans.items()}
    modelled = {name: plan for name, plan in plans.items() if not reasons[name]}
    calls = sum(map(_calls, modelled.values()))
    budget = CALLS_IN_BUDGET if experiment.search is None else SEARCHED_CALLS_IN_BUDGET
    count = simulations_for(calls, counts, budget)
    if modelled and count is None:
        return Prediction(
            skipped=f"a repeat has about {calls:,.0f} calls, and {SIMULATIONS[-1]} simulations of it take "
            "more than two seconds"
        )
    own = {name: _costs(costs, testbed, plan.arm.route) for name, plan in modelled.items()}
    cells = _cells(experiment, modelled, own, count or 0)
    arms = {
        name: ArmPrediction(
            not_modelled=reasons[name],
            simulations=(count or 0) if name in modelled else 0,
            calibrated=own.get(name) is not None,
            overload=_overload(cells[name]) if name in modelled else None,
            metrics=bands_of([cell.metrics for cell in cells[name]]) if name in modelled else {},
        )
        for name in plans
    }
    return Prediction(costs=_where_costs_are_from(arms), arms=arms)


def at_the_highest_rate(experiment: Experiment) -> Experiment:
    """Return a searched experiment at the highest rate that is tried: more than its replicas serve."""
    work, replicas = experiment.workload, experiment.replicas
    served = [capacity_per_s(replicas.work_of(name), work) for name in replicas.names]
    known = [one for one in served if one is not None]
    rate = MAX_TIMES_SERVED * math.fsum(known) if known else MAX_TIMES_RATE * (work.mean_rate_per_s or 1.0)
    return experiment.model_copy(update={"workload": work.model_copy(update={"rate_per_s": rate})})


def simulations_for(
    calls: float, counts: Sequence[int] = SIMULATIONS, budget: int = CALLS_IN_BUDGET
) -> int | None:
    """Return how many simulations of a repeat with so many calls fit into the budget; None: too few."""
    return next((count for count in counts if count * calls <= budget), None)


def _calls(plan: CellPlan) -> float:
    work = plan.workload
    first, mean = work.first_rate_per_s or 0, work.mean_rate_per_s or 0
    return first * work.warm_up_s + mean * work.duration_s + work.clients


def _where_costs_are_from(arms: Mapping[str, ArmPrediction]) -> str:
    modelled = [arm for arm in arms.values() if arm.simulations]
    if all(arm.calibrated for arm in modelled):
        return "fixed costs of proxy and network: medians of earlier runs on this machine"
    return (
        "fixed costs of proxy and network: not known for every route yet, since no calm run on this machine "
        "has ended; none were added, so measured latencies are some milliseconds longer"
    )


def _costs(costs: MachineCosts, testbed: str, route: str) -> Costs | None:
    from simulator.system import Costs

    found = known_costs(costs, testbed, route)
    if found is None:
        return None
    back = (0.0, found.way_back) if route in PROXIED else (found.way_back, 0.0)  # the client is the balancer
    parts_ms = (found.to_proxy, found.to_replica, *back)
    return Costs(*(max(0, round(ms * 1e6)) for ms in parts_ms))


@dataclass(frozen=True)
class SimulatedOutlook:
    """What one simulated cell says: its metrics, and whether a replica got more than it can serve.

    Of a search it is what its cells say together, and overloaded is None.
    """

    metrics: Mapping[str, float]
    overloaded: bool | None


def _overload(cells: Sequence[SimulatedOutlook]) -> float | None:
    found = [cell.overloaded for cell in cells if cell.overloaded is not None]
    return float(np.mean(found)) if found else None


def _cells(
    experiment: Experiment, plans: Mapping[str, CellPlan], costs: Mapping[str, Costs | None], count: int
) -> dict[str, list[SimulatedOutlook]]:
    """Return arm -> `count` simulated repeats: each has arrivals and placements of its own."""
    if experiment.search is not None:  # it imports polars, by way of the claims
        from harness.testbed.simulated.predicted_capacity import predicted_capacity

    cells: dict[str, list[SimulatedOutlook]] = {name: [] for name in plans}
    for repeat in range(1, count + 1):
        drawn: list[tuple[Workload, DrawnCalls]] = []
        for name, plan in plans.items():
            own = replace(plan, repeat=repeat, load=load_of(plan.workload, experiment.seed, repeat))
            system = _system(experiment, own, costs[name], repeat)
            calls, _ = calls_of(experiment, own, _drawn(experiment, own, drawn))
            if experiment.search is None:
                cells[name].append(_outlook(experiment, system, calls, own))
            else:
                found = predicted_capacity(experiment.search, system, calls, own)
                cells[name].append(SimulatedOutlook({} if found is None else {CAPACITY: found}, None))
    return cells


def _drawn(experiment: Experiment, plan: CellPlan, known: list[tuple[Workload, DrawnCalls]]) -> DrawnCalls:
    """Return the calls of a cell. known: those of this repeat that are drawn already; a new one is added."""
    found = next((drawn for workload, drawn in known if workload == plan.workload), None)
    if found is None:
        found = draw_calls(experiment, plan)
        known.append((plan.workload, found))
    return found


def _system(experiment: Experiment, plan: CellPlan, costs: Costs | None, repeat: int) -> System:
    from simulator.system import Costs

    system = system_of(experiment, plan)
    draw = random.Random(f"{experiment.seed}/{repeat}/{plan.arm_name}/ports")
    ports = draw.sample(range(*PORTS), len(system.replicas))
    replicas = tuple(
        replace(one, address=f"127.0.0.1:{port}") for one, port in zip(system.replicas, ports, strict=True)
    )
    return replace(system, replicas=replicas, costs=costs or Costs())


def predicted_cell(experiment: Experiment, plan: CellPlan, system: System, calls: Calls) -> PredictedCell:
    """Return the simulated cell of a plan, from which its metrics follow."""
    from simulator.simulation import simulate

    work = plan.workload
    planned = planned_rates(plan.load, work.duration_s)
    costs = np.array(relative_costs(experiment.replicas.service_time_ms, work))[calls.client]
    outcome = simulate(system, calls)
    hit_factor = 1.0 if system.cache is None else system.cache.hit_factor
    count, seconds, zones = len(system.replicas), work.duration_s, zones_by_number(experiment, plan)
    return PredictedCell(calls, outcome, count, seconds, planned, costs, hit_factor, zones)


def metrics_of(experiment: Experiment, plan: CellPlan, cell: PredictedCell) -> dict[str, float]:
    """Return the metrics that the simulated cell of a plan has, those of its events too."""
    return predicted_metrics(cell) | metrics_of_events(cell, list(_events(experiment, plan)))


def _events(experiment: Experiment, plan: CellPlan) -> Iterator[PredictedEvent]:
    replicas = system_of(experiment, plan).replicas if plan.events else ()
    for one in happenings(experiment, plan, replicas):
        planned, kind = one.planned, kind_of(one.planned.event.do)
        targets = [replica_number(name) for name in one.targets]
        at_ns = round(planned.at_s * NS_PER_S)
        yield PredictedEvent(planned.number, at_ns, targets, kind.breaks_calls, kind.returns)


def _outlook(experiment: Experiment, system: System, calls: Calls, plan: CellPlan) -> SimulatedOutlook:
    work = plan.workload
    cell = predicted_cell(experiment, plan, system, calls)
    names = experiment.replicas.names
    most = [capacity_per_s(experiment.replicas.work_of(name), work) for name in names]
    # What a replica has of all requests, it has of those of the peak.
    peak = (work.peak_rate_per_s or 1.0) / (work.mean_rate_per_s or 1.0)
    overloaded = any(
        capacity is not None and offered * peak > capacity
        for capacity, offered in zip(most, cell.offered_per_s, strict=False)  # without those that join later
    )
    return SimulatedOutlook(metrics_of(experiment, plan, cell), overloaded)


def bands_of(cells: Sequence[Mapping[str, float]]) -> dict[str, Band]:
    """Return metric -> band of the metrics that every cell has.

    A band is a prediction interval: the next cell is as likely to have any rank among the simulated ones, so
    between the k-th smallest and largest of n it lies with probability (n + 1 - 2k) / (n + 1). Source: G.
    Hahn, W. Meeker, Statistical Intervals, 1991, section 5.
    """
    below = round((1 - BAND_SHARE) / 2 * (len(cells) + 1))
    bands = {}
    for name in cells[0] if cells else ():
        if all(name in cell for cell in cells):
            ordered = sorted(cell[name] for cell in cells)
            low, high = ordered[below - 1], ordered[-below]
            median = float(np.median(ordered)) if math.isfinite(ordered[-1]) else ordered[len(ordered) // 2]
            bands[name] = Band(low=low, median=median, high=high)
    return bands
