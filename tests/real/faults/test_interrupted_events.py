"""Ctrl-C and SIGKILL of the harness while events have replicas paused, ended, rolling: nothing is left."""

import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from lab_process import Lab, StartLab, experiment_file, outlived

from harness.record.reader import read_run

CHECKS = {"interval_ms": 100, "timeout_ms": 100, "unhealthy_after": 2, "healthy_after": 2}
ARM = {"route": "envoy", "policy": "round_robin", "proxy_health_check": CHECKS}
LONG = {"warm_up_s": 0.2, "duration_s": 30}
GONE_S = 3.0
# What happens, and what the record says when it is under way.
TIMELINES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "one paused, one killed, one starting": (
        [
            {"at_s": 0.2, "do": "pause", "target": "replica-0"},
            {"at_s": 0.25, "do": "kill", "target": "replica-1"},
            {"at_s": 0.4, "do": "add"},
        ],
        '"do": "add"',
    ),
    "rolling": ([{"at_s": 0.2, "do": "roll", "target": "all", "delay_s": 0.2}], '"do": "start"'),
    "without its proxy": ([{"at_s": 0.2, "do": "proxy_restart"}], '"seen": "process ended"'),
}


def play(lab: Lab, said: str) -> list[psutil.Process]:
    """Wait until the record says it; every process of the lab."""
    events = lab.await_state("measure") / "events.jsonl"
    while said not in events.read_text():
        assert lab.process.poll() is None, lab.end()
        time.sleep(0.005)
    return lab.family()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("name", TIMELINES)
def test_nothing_is_left(name: str, how: signal.Signals, start_lab: StartLab, tmp_path: Path) -> None:
    events, said = TIMELINES[name]
    path = experiment_file(tmp_path, arms={"arm": ARM}, events=events, workload=LONG)
    lab = start_lab("run", path)
    family = play(lab, said)
    lab.process.send_signal(how)
    assert outlived(family[1:], GONE_S) == []
    if how is signal.SIGINT:
        assert lab.end(15) == (130, "", "")
    assert read_run(lab.run).manifest.status == "interrupted"
