"""A rate that changes, with bursts, on real parts: every request is sent as planned, and counted again."""

from pathlib import Path

from lab_process import StartLab, experiment_file

from harness.analysis.summary import facts_of
from harness.record.run_directory import read_run
from tests.recount.comparison import recount_run

SPIKE = {"shape": "spike", "base_per_s": 100, "peak_per_s": 400, "at_s": 0.5, "for_s": 0.4, "rise_s": 0.1}
ARMS = {
    "envoy": {"route": "envoy", "policy": "round_robin"},
    "direct": {"route": "direct", "policy": "round_robin"},
}


def test_every_request_of_a_crowd_is_sent_as_planned(start_lab: StartLab, tmp_path: Path) -> None:
    bursts = {"factor": 3, "mean_s": 0.1, "every_s": 0.5}
    work = {"rate_per_s": SPIKE, "bursts": bursts, "duration_s": 1.6}
    lab = start_lab("run", experiment_file(tmp_path, arms=ARMS, workload=work), "--redo", "0")
    status, out, err = lab.end(100)
    assert status in (0, 3), out + err  # 3: no expectation, and on a busy machine no usable latency
    cells = {cell.arm: cell for cells in facts_of(read_run(lab.run)).values() for cell in cells}
    # The record has the whole plan, at its times: the analysis draws it again from the seed.
    assert [cells[arm].contradictions for arm in ARMS] == [(), ()]
    assert cells["envoy"].requests == cells["direct"].requests > 0
    assert cells["envoy"].rate is not None
    assert cells["envoy"].rate.planned_per_s.max() > 200
    mine = [one for one in recount_run(lab.run) if one.where.endswith(("recovery_ms", "knee_per_s"))]
    assert len(mine) >= 2 * len(ARMS)
    assert [str(one) for one in mine if not one.agrees] == []
