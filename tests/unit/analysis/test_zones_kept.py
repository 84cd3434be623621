"""Requests that crossed zones are counted, and contradict a plan in which no node sends to another zone."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.analysis.cell_rules import outside_of_zones
from harness.analysis.facts import collect_facts
from harness.metrics.registry import METRICS
from harness.plan.cells import plan_cells
from harness.record.run_directory import Cell
from harness.spec.experiment import load_experiment
from tests.unit.synthetic.handwritten_cell import row, write_cell

ZONES = {"envoy-0": "a", "envoy-1": "b", "replica-0": "a", "replica-1": "b"}
NODES = {"envoy-0": "", "envoy-1": ""}


def cell_of(folder: Path, route: str = "envoy", zones: dict[str, str] = ZONES) -> Cell:
    """Six answers, two of which crossed zones, and a failure that no replica answered."""
    pairs = [("0/1", 0), ("0/1", 0), ("1/1", 1), ("1/2", 1), ("0/1", 1), ("1/2", 0)]
    rows = [row(n, f"replica-{replica}") | {"connection": at} for n, (at, replica) in enumerate(pairs)]
    rows.append(row(6, "", code="UNAVAILABLE") | {"connection": ""})
    cell = write_cell(folder, rows, route=route)
    return replace(cell, record=cell.record.model_copy(update={"zones": zones, "proxies": NODES}))


def test_requests_that_crossed_zones_are_counted(tmp_path: Path) -> None:
    facts = collect_facts(cell_of(tmp_path))
    assert facts.zone_requests == {("a", "a"): 2, ("a", "b"): 1, ("b", "a"): 1, ("b", "b"): 2}
    assert facts.crossed_zones == 2
    assert METRICS["zones.crossed_share"].compute(facts) == pytest.approx(1 / 3)


def test_without_zones_the_share_has_no_value(tmp_path: Path) -> None:
    facts = collect_facts(cell_of(tmp_path, zones={}))
    assert facts.zone_requests is facts.crossed_zones is None


@pytest.mark.parametrize("cross_zone", [True, False])
def test_a_request_that_crossed_contradicts_cross_zone_off(cross_zone: bool, tmp_path: Path) -> None:
    plan = plan_cells(load_experiment("round_robin"))[0]
    plan = replace(plan, arm=plan.arm.model_copy(update={"cross_zone": cross_zone}))
    found = list(outside_of_zones(cell_of(tmp_path), plan))
    assert found == (
        [] if cross_zone else ["2 requests are answered by a replica outside of the node's zone"]
    )
