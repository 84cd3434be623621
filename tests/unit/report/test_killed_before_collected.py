"""The report of a run that was killed with events under way, before the cell's window was recorded."""

import json
from pathlib import Path

from harness.report.page import build_report
from tests.unit.synthetic.stories import experiment
from tests.unit.synthetic.synthetic_run import synthesise_run

KILLED_AND_BACK = experiment(
    {"round_robin": "route: envoy, policy: round_robin"},
    events="[{at_s: 0.2, do: kill, target: replica-1, for_s: 0.3}]",
)


def test_a_run_killed_while_a_replica_returns_has_a_report(tmp_path: Path) -> None:
    run = synthesise_run(tmp_path, KILLED_AND_BACK, requests=60)
    path = run / "cells" / "round_robin.1" / "cell.json"
    cell = json.loads(path.read_text())
    path.write_text(json.dumps({**cell, "status": "interrupted", "measure_start_ns": 0, "measure_end_ns": 0}))
    report, summary = build_report(run)
    assert report.exists()
    assert summary.verdict == "inconclusive"
    reasons = summary.invalid_reasons
    assert any("no request was recorded" in reason for reason in reasons)
    assert not any("planned requests/s" in reason for reason in reasons)  # the rate of no time means nothing
