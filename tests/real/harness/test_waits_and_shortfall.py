"""Real runs of clients that wait: the wait is no lag, and what they never sent is counted and said."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lab_process import Lab, StartLab, experiment_file

SLOW = {"count": 1, "slots": 64, "service_time_ms": {"distribution": "constant", "mean": 150}}


def finished(lab: Lab) -> tuple[dict[str, Any], str]:
    """Return the summary of the run and what it printed."""
    status, out, err = lab.end()
    assert status in (0, 3), err
    return json.loads((lab.run / "summary.json").read_text()), out


def test_waiting_for_the_first_answers_of_sessions_is_no_lag(tmp_path: Path, start_lab: StartLab) -> None:
    arms = {"short": {"route": "direct", "policy": "round_robin", "session_lifetime_s": 0.5}}
    work = {"clients": 3, "rate_per_s": 60, "duration_s": 3}
    lab = start_lab("run", experiment_file(tmp_path, arms=arms, replicas=SLOW, workload=work), "--redo", 0)
    summary, _ = finished(lab)
    rows = lab.rows("short")
    waited_ms = rows.select((pl.col("ready_ns") - pl.col("planned_ns")).max() / 1e6).item()
    assert waited_ms > 100  # sessions open all the time, and each waits for its first answer
    cell = json.loads((lab.cell("short") / "cell.json").read_text())
    measured = rows.filter(pl.col("planned_ns") >= cell["measure_start_ns"])
    own_ms = measured.select(pl.col("sent_ns") - pl.col("ready_ns"))["sent_ns"] / 1e6
    assert own_ms.min() >= 0  # type: ignore[operator]
    assert summary["arms"]["short"]["lag_ms"]["max"] == pytest.approx(own_ms.max())
    assert summary["arms"]["short"]["unsent_requests"] == 0


def test_what_a_waiting_client_never_sent_is_counted_and_said(tmp_path: Path, start_lab: StartLab) -> None:
    """One client plans 100 calls/s and gets an answer every 150 ms; it has 1.4 s."""
    arms = {"waiting": {"route": "direct", "policy": "round_robin", "await_each_answer": True}}
    work = {"clients": 1, "rate_per_s": 100, "duration_s": 1, "warm_up_s": 0, "deadline_ms": 400}
    lab = start_lab("run", experiment_file(tmp_path, arms=arms, replicas=SLOW, workload=work), "--redo", 0)
    summary, out = finished(lab)
    planned = json.loads((lab.cell("waiting") / "cell.json").read_text())["planned_requests"]
    sent = lab.rows("waiting").height
    assert sent <= 12
    assert planned > 60
    assert summary["arms"]["waiting"]["unsent_requests"] == planned - sent
    line = f"waiting: {planned - sent} of {planned} planned requests were never sent"
    assert line in out
    assert line in (lab.run / "report.html").read_text()


def test_messages_of_streams_that_a_kill_broke_are_missing(tmp_path: Path, start_lab: StartLab) -> None:
    arms = {"direct": {"route": "direct", "policy": "round_robin"}}
    work = {
        **{"clients": 4, "rate_per_s": 40, "calls": {"GetVideo": 1, "AddVideo": 1}, "duration_s": 1.5},
        **{"messages_per_stream": 6, "message_gap_ms": 100},
    }
    events = [{"at_s": 0.7, "do": "kill", "target": "replica-0"}]
    path = experiment_file(tmp_path, arms=arms, workload=work, events=events)
    lab = start_lab("run", path, "--redo", 0)
    summary, _ = finished(lab)
    cell = json.loads((lab.cell("direct") / "cell.json").read_text())
    measured = pl.col("planned_ns").is_between(
        cell["measure_start_ns"], cell["measure_end_ns"], closed="left"
    )
    streams = lab.rows("direct").filter(measured, pl.col("method") == "GetVideo")
    broken = streams.filter(pl.col("code") != "OK")
    assert broken.height > 0
    came = pl.read_parquet(lab.cell("direct") / "messages.parquet").join(streams, on="request_id", how="semi")
    missing = summary["arms"]["direct"]["stream"]["missing_messages"]
    assert missing == 6 * streams.height - came.height
    assert missing == (6 - broken["messages"]).sum() > 0
