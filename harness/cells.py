"""The plan of a run: which cells, in which order, each with what."""

import random
from dataclasses import dataclass

from harness.proxy import ENVOY_POLICIES
from harness.spec import Arm, Experiment
from lb.plan import Load, planned_requests


@dataclass(frozen=True)
class CellPlan:
    """One arm x one repeat. `order` counts the cells of the run from 0, `repeat` those of the arm from 1."""

    arm_name: str
    arm: Arm
    repeat: int
    order: int
    load: Load

    @property
    def cookies(self) -> bool:
        """Whether the clients keep cookies: asked for, and there is a proxy that sets some."""
        return self.arm.cookie_jar and self.arm.route == "envoy" and ENVOY_POLICIES[self.arm.policy].cookie


def plan_cells(experiment: Experiment) -> list[CellPlan]:
    """All cells of a run. Within each repeat the arms come in an order shuffled by the seed.

    Interleaved, so that a machine that changes while the run goes on touches every arm alike.
    """
    rng = random.Random(f"order/{experiment.seed}")
    order: list[tuple[str, int]] = []
    for repeat in range(1, experiment.repeats + 1):
        names = list(experiment.arms)
        rng.shuffle(names)
        order += [(name, repeat) for name in names]
    return [
        CellPlan(name, experiment.arms[name], repeat, number, load_of(experiment, repeat))
        for number, (name, repeat) in enumerate(order)
    ]


def load_of(experiment: Experiment, repeat: int) -> Load:
    """What the clients send in one repeat: the same in every arm, so that arms meet the same arrivals."""
    work = experiment.workload
    return Load(
        clients=work.clients,
        rate_per_s=work.rate_per_s,
        think_time_ms=work.think_time_ms,
        skew=work.skew,
        calls={str(name): weight for name, weight in work.calls.items()},
        seed=experiment.seed,
        repeat=repeat,
    )


def planned_in_window(experiment: Experiment, load: Load) -> int:
    """Requests planned in the measured window; 0 for a closed loop, whose number is not planned."""
    if load.rate_per_s is None:
        return 0
    return planned_requests(load, experiment.workload.warm_up_s, experiment.workload.duration_s)
