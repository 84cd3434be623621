"""`compute`: the outcome of one simulated cell. A cell depends on the experiment and its plan alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.plan.cells import CellPlan
from harness.spec.experiment import Experiment
from harness.testbed.simulated.model import calls_of, system_of

if TYPE_CHECKING:
    from simulator.system import Calls, Integers, Outcome, System


@dataclass(frozen=True)
class ComputedCell:
    """The system of a cell, its calls and what became of them. request_ids: (calls,)."""

    system: System
    calls: Calls
    request_ids: Integers
    outcome: Outcome


def compute(experiment: Experiment, plan: CellPlan) -> ComputedCell:
    """Return the outcome of a cell. Raises UserError for one that the simulator refuses."""
    from simulator.simulation import simulate

    system = system_of(experiment, plan)
    calls, request_ids = calls_of(experiment, plan)
    try:
        return ComputedCell(system, calls, request_ids, simulate(system, calls))
    except ValueError as error:
        raise UserError(f"{experiment.name}: {error}") from error
