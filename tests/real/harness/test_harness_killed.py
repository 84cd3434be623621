"""After SIGKILL of the harness, which cannot clean up, its processes end within three seconds."""

import json
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from lab_process import StartLab, experiment_file, outlived

from harness.errors import UserError
from harness.report.page import build_report

LONG = {"warm_up_s": 0.5, "duration_s": 30}
GONE_S = 3.0


@pytest.mark.parametrize("moment", ["fork servers", "starting", "warm_up", "measure"])
def test_no_process_outlives_a_killed_harness(moment: str, start_lab: StartLab, tmp_path: Path) -> None:
    arms = {"arm": {"route": "envoy", "policy": "sticky"}}
    lab = start_lab("run", experiment_file(tmp_path, arms=arms, workload=LONG))
    if moment == "fork servers":
        while len(lab.family()) < 3:
            time.sleep(0.005)
    else:
        lab.await_state(moment)
        time.sleep(0.3 if moment == "measure" else 0)
    family = lab.family()
    lab.process.send_signal(signal.SIGKILL)
    assert outlived(family, GONE_S) == []
    assert lab.manifest["status"] == "interrupted"

    if moment == "measure":
        build_report(lab.run)
        summary = json.loads((lab.run / "summary.json").read_text())
        assert (summary["status"], summary["verdict"]) == ("interrupted", "inconclusive")
    else:
        with suppress(UserError):  # nothing was measured: the report has no figures, or is refused
            build_report(lab.run)
