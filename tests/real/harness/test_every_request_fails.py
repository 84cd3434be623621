"""A cell in which every request failed: terminal and report say so first, with code and message."""

import json
import re
from pathlib import Path

import pytest
from lab_process import StartLab, experiment_file

ARMS = {
    "proxy": {"route": "envoy", "policy": "round_robin"},
    "direct": {"route": "direct", "policy": "round_robin"},
}
MESSAGE = "failed on purpose: 1 of the calls end with RESOURCE_EXHAUSTED"
FAILING = {"fail_share": 1.0, "fail_code": "RESOURCE_EXHAUSTED"}


@pytest.mark.parametrize("processes", [1, 2])
def test_the_reason_stands_first(processes: int, start_lab: StartLab, tmp_path: Path) -> None:
    path = experiment_file(tmp_path, arms=ARMS, replicas=FAILING)
    lab = start_lab("run", path, "--processes", processes)
    status, out, err = lab.end()
    assert status in (0, 3), out + err
    reason = f"most often RESOURCE_EXHAUSTED: {MESSAGE}"
    lines = out.splitlines()
    for line, arm in zip(lines, json.loads((lab.run / "summary.json").read_text())["arms"], strict=False):
        assert line.startswith(f"{arm}: all ")
        assert line.endswith(f" requests failed, {reason}")
    failures = json.loads((lab.cell("proxy") / "cell.json").read_text())["failures"]
    assert [(one["code"], one["message"]) for one in failures] == [("RESOURCE_EXHAUSTED", MESSAGE)]
    rows = lab.rows("proxy")
    assert failures[0]["calls"] == rows.height > 0
    page = (lab.run / "report.html").read_text()
    assert page.index("requests failed, most often RESOURCE_EXHAUSTED") < page.index("Verdict: ")


def test_nobody_serves(start_lab: StartLab, tmp_path: Path) -> None:
    """gRPC's own message is told, too."""
    kill_all = [{"at_s": 0.2, "do": "kill", "target": "all"}]
    path = experiment_file(
        tmp_path,
        arms={"direct": ARMS["direct"]},
        events=kill_all,
        workload={"warm_up_s": 0, "duration_s": 1.0},
    )
    lab = start_lab("run", path)
    status, _, err = lab.end()
    assert status in (0, 3), err
    failures = json.loads((lab.cell("direct") / "cell.json").read_text())["failures"]
    assert failures[0]["code"] == "UNAVAILABLE"
    # A killed replica resets a connection that it had, and refuses a new one.
    assert re.search(r"Connection (refused|reset)", " ".join(one["message"] for one in failures))
