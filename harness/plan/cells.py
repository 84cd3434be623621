"""Plans the cells of a run: their order, load and events."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from harness.events.keys import PlannedEvent
from harness.events.schedule import planned_events
from harness.plan.rate_path import rate_curve
from harness.plan.search import LEAST_CELLS
from harness.policies.registry import traits_of
from harness.spec.experiment import Arm, Experiment, Workload, with_searched_values
from harness.spec.model import TraceSource
from harness.spec.traced_workload import recorded_of
from lb.plan import Load, Phase, planned_requests


@dataclass(frozen=True)
class SearchedArm:
    """The arm whose capacity is searched, and the value of the factor in one cell."""

    name: str
    value: float


@dataclass(frozen=True)
class CellPlan:
    """One cell: one arm x one repeat.

    `order` counts the cells of the run from 0, `repeat` the cells of the arm from 1. `workload`: the
    experiment's workload with the arm's own settings; `load`: what the clients send; `events`: what changes
    in the measured window. `searched`: of a search, which arm of the file the cell is about.
    """

    arm_name: str
    arm: Arm
    repeat: int
    order: int
    workload: Workload
    load: Load
    events: tuple[PlannedEvent, ...] = ()
    searched: SearchedArm | None = None

    @property
    def cookies(self) -> bool:
        """Whether the clients keep cookies: the arm has a cookie jar, and its policy sets cookies."""
        arm = self.arm
        return arm.cookie_jar and traits_of(arm.route, arm.policy, arm.options).sets_cookie


def plan_cells(experiment: Experiment) -> list[CellPlan]:
    """Return the cells of a run with its most repeats. The seed shuffles the arms in each repeat.

    The arms are interleaved, so that a slow change of the machine affects all arms equally.
    """
    variants = experiment.variants
    cells: list[CellPlan] = []
    for repeat, names in enumerate(shuffled_arms(experiment), 1):
        cells += [
            cell_of(experiment, name, variants[name].arm, repeat, len(cells) + place)
            for place, name in enumerate(names)
        ]
    return cells


def cells_at_least(experiment: Experiment) -> int:
    """Return how many cells a run has at least, with the fewest repeats."""
    each = 1 if experiment.search is None else LEAST_CELLS
    return len(experiment.variants) * experiment.repeats.min * each


def cells_at_most(experiment: Experiment) -> int:
    """Return how many cells a run has at most, disturbed attempts not counted."""
    each = 1 if experiment.search is None else experiment.search.max_cells
    return len(experiment.variants) * experiment.repeats.max * each


def shuffled_arms(experiment: Experiment) -> Iterator[list[str]]:
    """Yield the arms of each repeat in the order in which they are run."""
    rng = random.Random(f"order/{experiment.seed}")
    for _ in range(experiment.repeats.max):
        names = list(experiment.variants)
        rng.shuffle(names)
        yield names


def cell_of(experiment: Experiment, name: str, arm: Arm, repeat: int, order: int) -> CellPlan:
    """Return the plan of one cell."""
    workload = experiment.workload_of(arm)
    load = load_of(workload, experiment.seed, repeat)
    events = planned_events(experiment.events_of(arm))
    return CellPlan(name, arm, repeat, order, workload, load, events)


def searched_cell(experiment: Experiment, name: str, value: float, repeat: int, order: int) -> CellPlan:
    """Return the plan of one cell of a search. name: of the arm in the file. value: of the factor."""
    as_run = with_searched_values(experiment, {name: [value]})
    (variant,) = (one for one in as_run.variants.values() if one.base == name)
    cell = cell_of(experiment, variant.name, variant.arm, repeat, order)
    return replace(cell, searched=SearchedArm(name, value))


def load_of(work: Workload, seed: int, repeat: int) -> Load:
    """Return what the clients send in one repeat. Arms with the same workload get the same arrivals."""
    return Load(
        clients=work.clients,
        rate_per_s=work.mean_rate_per_s,
        think_time_ms=work.think_time_ms,
        skew=work.skew,
        calls={str(name): weight for name, weight in work.calls.items()},
        seed=seed,
        repeat=repeat,
        **({} if work.trace is None else _recorded(work.trace, work.warm_up_s)),
        curve=rate_curve(work, seed, repeat),
    )


class _Recorded(TypedDict, total=False):
    recorded: dict[Phase, Sequence[Sequence[int]]]
    recorded_work: dict[Phase, Sequence[Sequence[int]]]


def _recorded(trace: TraceSource, warm_up_s: float) -> _Recorded:
    arrivals = recorded_of(trace, warm_up_s)
    found: _Recorded = {"recorded": {"warm_up": arrivals.warm_up, "measure": arrivals.measure}}
    if arrivals.warm_up_work is not None and arrivals.measure_work is not None:
        found["recorded_work"] = {"warm_up": arrivals.warm_up_work, "measure": arrivals.measure_work}
    return found


def planned_in_window(plan: CellPlan) -> int:
    """Return the number of requests planned in the measured window; 0 for a closed loop, which plans none."""
    if plan.load.rate_per_s is None:
        return 0
    return planned_requests(plan.load, plan.workload.warm_up_s, plan.workload.duration_s)
