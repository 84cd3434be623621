"""The capacity that a search of one arm would find: the same search, with simulated cells."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.claims import Claim
from harness.plan.cells import CellPlan
from harness.plan.search import UNKNOWN_STEP, bracket_of, next_value
from harness.spec.search import Search
from harness.testbed.simulated.predicted_metrics import PREDICTED, PredictedCell
from lb.plan import NS_PER_S

if TYPE_CHECKING:
    from simulator.system import Calls, System

MAX_CELLS = 16  # simulated ones of one search


def predicted_capacity(search: Search, system: System, calls: Calls, plan: CellPlan) -> float | None:
    """Return the capacity of one arm in one repeat: the middle of its bracket, or the one end that was found.

    None where no cell could say whether the condition held.

    calls: of the plan, whose rate is the highest that is tried. A lower one has the same calls further apart.
    """
    most = plan.load.rate_per_s
    assert most is not None
    compute = PREDICTED[search.condition.metric]
    claim = Claim(*search.condition.bound)
    outcomes: dict[float, bool | None] = {}
    while len(outcomes) < MAX_CELLS:
        rate = next_value(outcomes, most / (1 + UNKNOWN_STEP), search.within_share, UNKNOWN_STEP)
        rate = None if rate is None else min(rate, most)
        if rate is None or rate in outcomes:
            break
        measured = compute(_cell(system, _further_apart(calls, most / rate, plan), plan))
        outcomes[rate] = None if measured is None else claim.met_by(measured)
    found = bracket_of(outcomes).middle
    return found if math.isfinite(found) else None


def _cell(system: System, calls: Calls, plan: CellPlan) -> PredictedCell:
    from simulator.simulation import simulate

    return PredictedCell(calls, simulate(system, calls), len(system.replicas), plan.workload.duration_s)


def _further_apart(calls: Calls, times: float, plan: CellPlan) -> Calls:
    """Return the calls at times that are `times` as long, without those behind the ends of their phases.

    lb.plan draws the arrivals of a client so: its gaps are random numbers / its rate.
    """
    work = plan.workload
    planned_ns = (calls.planned_ns * times).astype(np.int64)
    ends_ns = np.where(calls.measured, work.duration_s * NS_PER_S, work.warm_up_s * NS_PER_S)
    kept = planned_ns < ends_ns
    names = ("client", "session", "channel", "measured", "work_ns", "key")
    arrays = {name: getattr(calls, name)[kept] for name in names}
    return replace(calls, planned_ns=planned_ns[kept], **arrays)
