"""No process is left after Ctrl-C or SIGKILL of the harness while events are in progress."""

import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from lab_process import Lab, StartLab, experiment_file, outlived

from harness.record.run_directory import read_run

CHECKS = {"interval_ms": 100, "timeout_ms": 100, "unhealthy_after": 2, "healthy_after": 2}
ARM = {"route": "envoy", "policy": "round_robin", "proxy_health_check": CHECKS}
LONG = {"warm_up_s": 0.2, "duration_s": 30}
GONE_S = 3.0
# name -> events, and the text that the record has while they are in progress.
TIMELINES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "one paused, one killed, one starting": (
        [
            {"at_s": 0.2, "do": "pause", "target": "replica-0"},
            {"at_s": 0.25, "do": "kill", "target": "replica-1"},
            {"at_s": 0.4, "do": "add"},
        ],
        '"do": "add"',
    ),
    "rolling restart": ([{"at_s": 0.2, "do": "roll", "target": "all", "delay_s": 0.2}], '"do": "start"'),
    "no proxy": ([{"at_s": 0.2, "do": "proxy_restart"}], '"seen": "process ended"'),
}


def await_record(lab: Lab, text: str) -> list[psutil.Process]:
    """Wait until the record has `text`, and return all processes of the lab."""
    events = lab.await_state("measure") / "events.jsonl"
    while text not in events.read_text():
        assert lab.process.poll() is None, lab.end()
        time.sleep(0.005)
    return lab.family()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("name", TIMELINES)
def test_no_process_is_left_after_an_interrupted_event(
    name: str, how: signal.Signals, start_lab: StartLab, tmp_path: Path
) -> None:
    events, text = TIMELINES[name]
    path = experiment_file(tmp_path, arms={"arm": ARM}, events=events, workload=LONG)
    lab = start_lab("run", path)
    family = await_record(lab, text)
    lab.process.send_signal(how)
    assert outlived(family[1:], GONE_S) == []
    if how is signal.SIGINT:
        assert lab.end(15) == (130, "", "")
    assert read_run(lab.run).manifest.status == "interrupted"
