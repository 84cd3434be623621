"""After Ctrl-C or SIGTERM all processes end within two seconds, and the run is kept as interrupted."""

import json
import signal
import time
from pathlib import Path

import polars as pl
import pytest
from lab_process import Lab, StartLab, experiment_file, outlived

from harness.report.page import build_report

pytestmark = pytest.mark.calm  # all processes must end within two seconds

LONG = {"warm_up_s": 0.2, "duration_s": 30}
SLOW_START = {"warm_up_s": 30, "duration_s": 1}
STOP_S = 2.0


def assert_interrupted(lab: Lab, *numbers: signal.Signals) -> None:
    """Send `numbers`, and check that all processes end in time and that the run is interrupted."""
    processes = lab.family()[1:]
    for number in numbers:
        if lab.process.poll() is None:
            lab.process.send_signal(number)
            time.sleep(0.02 if len(numbers) > 1 else 0)
    assert outlived(processes, STOP_S) == []
    status, out, err = lab.end(15)
    assert (status, out, err) == (130, "", "")
    assert lab.manifest["status"] == "interrupted"
    assert lab.manifest["finished_utc"] is not None
    assert not list(lab.results.glob("*/latest"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_while_measuring(number: signal.Signals, start_lab: StartLab, tmp_path: Path) -> None:
    lab = start_lab("run", experiment_file(tmp_path, workload=LONG))
    cell = lab.await_state("measure")
    time.sleep(0.5)
    assert_interrupted(lab, number)
    arm = cell.name.removesuffix(".1")
    rows = lab.rows(arm)
    assert set(rows["code"]) == {"OK"}
    info = json.loads((cell / "cell.json").read_text())
    assert info["status"] == "interrupted"
    assert rows["planned_ns"].max() > info["measure_start_ns"]
    served = pl.read_parquet(cell / "replicas.parquet").height
    assert served - 30 <= rows.height <= served  # calls in flight have no row: at most those of 0.2 s

    build_report(lab.run, plots=False)
    summary = json.loads((lab.run / "summary.json").read_text())
    assert (summary["status"], summary["verdict"]) == ("interrupted", "inconclusive")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_while_replicas_and_envoy_start(number: signal.Signals, start_lab: StartLab, tmp_path: Path) -> None:
    lab = start_lab("run", experiment_file(tmp_path, replicas={"count": 16}))
    lab.await_state("starting")
    assert_interrupted(lab, number)


def test_while_the_calls_are_stuck(start_lab: StartLab, tmp_path: Path) -> None:
    stuck = {"slots": 1, "service_time_ms": {"distribution": "constant", "mean": 60_000}}
    lab = start_lab(
        "run", experiment_file(tmp_path, replicas=stuck, workload={**SLOW_START, "deadline_ms": 60_000})
    )
    lab.await_state("warm_up")
    time.sleep(0.3)
    assert_interrupted(lab, signal.SIGINT)


def test_more_signals_do_not_disturb_the_clean_up(start_lab: StartLab, tmp_path: Path) -> None:
    lab = start_lab("run", experiment_file(tmp_path, workload=LONG))
    lab.await_state("measure")
    assert_interrupted(lab, *[signal.SIGINT] * 20)
