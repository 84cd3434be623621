"""Independent code counts every figure of real runs again, from their files."""

from pathlib import Path

from lab_process import StartLab, experiment_file

from tests.recount.comparison import recount_run

ENOUGH = 250  # figures of one cell, at least


def check(start_lab: StartLab, path: Path, cells: int) -> None:
    """Run the experiment and recount it. A verdict or a late generator does not matter here."""
    lab = start_lab("run", path, "--redo", "0")
    status, out, err = lab.end(100)
    assert status in (0, 3), out + err
    found = recount_run(lab.run)
    assert [str(one) for one in found if not one.agrees] == []
    assert len(found) > ENOUGH * cells


def test_streams_on_all_routes_agree(start_lab: StartLab, tmp_path: Path) -> None:
    arms = {
        "sticky": {"route": "envoy", "policy": "sticky"},
        "l4": {"route": "envoy-l4", "policy": "round_robin"},
        "client": {"route": "direct", "policy": "round_robin"},
    }
    calls = {"AddVideo": 2, "ListVideos": 1, "GetVideos": 1, "GetVideo": 1}
    check(start_lab, experiment_file(tmp_path, arms=arms, workload={"calls": calls}), cells=3)


def test_a_crash_with_retries_and_deadlines_agrees(start_lab: StartLab, tmp_path: Path) -> None:
    arms = {
        "plain": {"route": "envoy", "policy": "round_robin"},
        "retries": {
            **{"route": "envoy", "policy": "sticky"},
            **{"retries": {"by": "proxy", "attempts": 3}},
        },
        "client": {"route": "direct", "policy": "round_robin"},
    }
    replicas = {"slots": 1, "fail_share": 0.1, "service_time_ms": {"distribution": "exponential", "mean": 20}}
    work = {"rate_per_s": 200, "duration_s": 1.2, "deadline_ms": 120}
    events = [{"at_s": 0.4, "do": "kill", "target": "replica-1", "for_s": 0.4}]
    path = experiment_file(tmp_path, arms=arms, replicas=replicas, workload=work, events=events)
    check(start_lab, path, cells=3)
