"""Where clients have subsets, an answer from outside of a client's subset contradicts the plan."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.analysis.cell_rules import outside_of_subsets
from harness.plan.cells import CellPlan, plan_cells
from harness.spec.arm import Arm, Subsetting
from harness.spec.experiment import load_experiment
from lb.rows import REQUEST_IDS_PER_CLIENT
from lb.subsets import subset_of
from tests.unit.synthetic.handwritten_cell import REPLICAS, row, write_cell


@pytest.fixture(scope="module")
def plan() -> CellPlan:
    """Of an arm in which each client has one of two replicas."""
    arm = Arm(route="direct", policy="round_robin", subsetting=Subsetting(size=1, by="random"))
    return replace(plan_cells(load_experiment("round_robin"))[0], arm=arm)


def own_replica(plan: CellPlan, client: int) -> str:
    return subset_of(list(REPLICAS), client, 1, "random", plan.load.draw)[0]


@pytest.mark.parametrize("strays", [0, 1, 3])
def test_answers_from_outside_of_the_subset_are_counted(strays: int, plan: CellPlan, tmp_path: Path) -> None:
    rows = []
    for client in range(6):
        own = own_replica(plan, client)
        other = next(name for name in REPLICAS if name != own)
        rows.append(row(client * REQUEST_IDS_PER_CLIENT, other if client < strays else own))
        rows.append(row(client * REQUEST_IDS_PER_CLIENT + 1, "", code="UNAVAILABLE"))
    found = list(outside_of_subsets(write_cell(tmp_path, rows, route="direct"), plan))
    words = {0: [], 1: ["1 request is answered"], 3: ["3 requests are answered"]}[strays]
    assert [text.partition(" by")[0] for text in found] == words


def test_without_subsets_anybody_may_answer(plan: CellPlan, tmp_path: Path) -> None:
    cell = write_cell(tmp_path, [row(number, "replica-0") for number in range(3)], route="direct")
    everything = replace(plan, arm=plan.arm.model_copy(update={"subsetting": None}))
    assert list(outside_of_subsets(cell, everything)) == []
