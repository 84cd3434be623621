"""Plans the cells of a run: their order, load and events."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from harness.events.keys import PlannedEvent
from harness.events.schedule import planned_events
from harness.plan.rate_path import rate_curve
from harness.policies.registry import traits_of
from harness.spec.experiment import Arm, Experiment, Workload
from harness.spec.model import TraceSource
from harness.spec.traced_workload import recorded_of
from lb.plan import Load, Phase, planned_requests


@dataclass(frozen=True)
class CellPlan:
    """One cell: one arm x one repeat.

    `order` counts the cells of the run from 0, `repeat` the cells of the arm from 1. `workload`: the
    experiment's workload with the arm's own settings; `load`: what the clients send; `events`: what changes
    in the measured window.
    """

    arm_name: str
    arm: Arm
    repeat: int
    order: int
    workload: Workload
    load: Load
    events: tuple[PlannedEvent, ...] = ()

    @property
    def cookies(self) -> bool:
        """Whether the clients keep cookies: the arm has a cookie jar, and its policy sets cookies."""
        arm = self.arm
        return arm.cookie_jar and traits_of(arm.route, arm.policy, arm.options).sets_cookie


def plan_cells(experiment: Experiment) -> list[CellPlan]:
    """Return the cells of a run with its most repeats. The seed shuffles the arms in each repeat.

    The arms are interleaved, so that a slow change of the machine affects all arms equally.
    """
    rng = random.Random(f"order/{experiment.seed}")
    variants = experiment.variants
    cells: list[CellPlan] = []
    for repeat in range(1, experiment.repeats.max + 1):
        names = list(variants)
        rng.shuffle(names)
        for name in names:
            arm = variants[name].arm
            workload = experiment.workload_of(arm)
            load = load_of(workload, experiment.seed, repeat)
            events = planned_events(experiment.events_of(arm))
            cells.append(CellPlan(name, arm, repeat, len(cells), workload, load, events))
    return cells


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
