"""Several load processes: the same plan as one, all rows in one file, and lost workers recorded."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from clients import SETTINGS
from lab_process import ROOT, Lab, StartCell, StartLab, experiment_file, free_port
from load_process import OPEN, SECRET, StartLoad, workers_of

from load.order import STOPPED_EARLY

ARMS = {"round_robin": {"route": "envoy", "policy": "round_robin"}}
# Another machine has another monotonic clock. This one is 5,000 s ahead.
ELSEWHERE = ["unshare", "--time", "--monotonic", "5000"]


def process(root: int, name: str) -> psutil.Process:
    (found,) = (child for child in psutil.Process(root).children(recursive=True) if child.name() == name)
    return found


def locusts_page(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats/requests", timeout=5) as response:
        return dict(json.load(response))


def start_worker(port: int, *before: str, more: Sequence[str] = ()) -> subprocess.Popen[str]:
    words = ["run_experiment.py", "worker", "--master-host", "127.0.0.1", "--master-port", str(port)]
    command = [*before, sys.executable, *words, *more]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def has_other_clocks() -> bool:
    return subprocess.run([*ELSEWHERE, "true"], capture_output=True).returncode == 0


def test_one_two_and_four_processes_send_the_same_requests_at_the_same_times(
    start_cell: StartCell, start_load: StartLoad
) -> None:
    target = start_cell("direct", "round_robin").target
    plans = {}
    for run in [start_load(target, processes=processes) for processes in (1, 2, 4)]:
        assert run.end() == 0, run.stderr
        rows, status = run.rows(), run.status()
        assert (status["state"], status["answered"]) == ("done", len(rows))
        assert status["measure_end_ns"] - status["measure_start_ns"] == 0.7e9
        start_ns = status["measure_start_ns"]
        plans[run.folder.name] = {
            (row["request_id"], row["client"], row["session"], row["method"], row["planned_ns"] - start_ns)
            for row in rows
            if row["planned_ns"] >= start_ns
        }
        # All calls of the warm-up end before any worker sends a measured call.
        before = [row for row in rows if row["planned_ns"] < start_ns]
        assert before
        assert all(row["done_ns"] <= start_ns for row in before)
        streams = {row["request_id"] for row in rows if row["method"] != "AddVideo"}
        assert {message["request_id"] for message in run.rows("messages.csv")} == streams
        channels = json.loads((run.folder / "channels.json").read_text())
        assert [one["client"] for one in channels] == list(range(OPEN.clients))
        if not run.folder.name.endswith("0"):
            workers = workers_of(run.folder)
            assert sorted(client for worker in workers for client in worker["clients"]) == list(range(5))
            assert sum(worker["rows"] for worker in workers) == len(rows)
            assert {worker["ended"] for worker in workers} == {"done"}
            assert all(worker["planned_requests"] == worker["measured_requests"] > 0 for worker in workers)
    one, two, four = plans.values()
    assert len(one) > 50
    assert one == two == four


def test_clients_that_share_connections_are_in_one_process(
    start_cell: StartCell, start_load: StartLoad
) -> None:
    target = start_cell("direct", "round_robin").target
    shared = replace(SETTINGS, target=target, epoch_ns=time.monotonic_ns(), share_connections=True)
    run = start_load(target, settings=shared, processes=2, warm_up_s=0, duration_s=0.3)
    assert run.end() == 0, run.stderr
    assert [worker["clients"] for worker in workers_of(run.folder)] == [[0, 1, 2, 3, 4], []]
    assert {row["client"] for row in run.rows()} == {0, 1, 2, 3, 4}


@pytest.mark.calm
def test_locusts_page_shows_all_and_sigterm_ends_all_early_with_every_finished_row(
    start_cell: StartCell, start_load: StartLoad
) -> None:
    port = free_port()
    target = start_cell("direct", "round_robin").target
    run = start_load(target, processes=2, duration_s=30, web_port=port)
    run.await_answers(60)
    workers = [process(run.process.pid, f"load-worker-{number}") for number in range(2)]
    page = locusts_page(port)
    assert len(page["workers"]) == 2
    assert page["user_count"] == OPEN.clients
    total = next(entry for entry in page["stats"] if entry["name"] == "Aggregated")["num_requests"]
    # Workers report to Locust independently, twice a second.
    assert 0 < total <= run.status()["answered"] + 24
    run.process.send_signal(signal.SIGTERM)
    assert run.end() == STOPPED_EARLY, run.stderr
    rows, states = run.rows(), workers_of(run.folder)
    assert len(rows) == run.status()["answered"] >= 60
    assert {worker["ended"] for worker in states} == {"stopped"}
    assert {row["client"] for row in rows} == set(range(OPEN.clients))
    served = sum(
        len((run.folder.parent / f"replica-{number}.csv").read_text().splitlines()) - 1 for number in range(3)
    )
    assert served - 24 <= len(rows) <= served  # open calls, at most those sent in 0.2 s
    assert not any(worker.is_running() for worker in workers)


def test_workers_end_with_a_master_that_is_killed(start_cell: StartCell, start_load: StartLoad) -> None:
    run = start_load(start_cell("direct", "round_robin").target, processes=2, duration_s=30)
    run.await_answers(20)
    workers = [process(run.process.pid, f"load-worker-{number}") for number in range(2)]
    run.process.kill()
    run.process.wait()
    psutil.wait_procs(workers, timeout=10)
    assert not any(worker.is_running() for worker in workers)
    assert len(run.rows()) >= 20


def test_an_error_in_a_worker_ends_the_load_at_once(start_load: StartLoad) -> None:
    wrong = replace(OPEN, calls={"NoSuchCall": 1.0})
    run = start_load("127.0.0.1:1", load=wrong, processes=2, duration_s=25)
    assert run.end() not in (0, STOPPED_EARLY)
    assert "KeyError: 'NoSuchCall'" in run.stderr
    assert run.status()["error"].endswith("failed: KeyError: 'NoSuchCall'")


def _connected_workers(root: int) -> list[psutil.Process]:
    children = psutil.Process(root).children(recursive=True)
    return [one for one in children if one.name() == "load-worker-0" and one.net_connections("tcp")]


def test_a_worker_that_gets_sigterm_before_its_order_is_named(start_load: StartLoad) -> None:
    """The master would wait for it without end."""
    run = start_load("127.0.0.1:1", processes=1, expect_workers=1, master_bind_port=free_port())
    deadline_s = time.monotonic() + 20
    while not (workers := _connected_workers(run.process.pid)):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    time.sleep(0.5)  # until it has joined. It waits for its order, which waits for the other worker
    (worker,) = workers
    worker.send_signal(signal.SIGTERM)
    assert run.end() not in (0, STOPPED_EARLY)
    assert run.status()["error"] == "load-worker-0 failed: SIGTERM before it began"


def test_workers_that_do_not_come_are_counted(start_load: StartLoad) -> None:
    program = (
        "import sys, load.main as it, load.master; load.master.EXPECTED_WORKERS_TIMEOUT_S = 1; it.main()"
    )
    run = start_load("127.0.0.1:1", program, expect_workers=2, master_bind_port=free_port())
    assert run.end() not in (0, STOPPED_EARLY)
    assert (
        run.status()["error"]
        == "0 of 2 expected load workers came within 1 s; one with another secret cannot join"
    )


def test_a_worker_with_other_code_is_refused(start_load: StartLoad) -> None:
    port = free_port()
    other = (
        "import load.main, load.worker_session as it; it.protocol.code_digest = lambda: 'other'; "
        f"it.run_session('127.0.0.1', {port}, '{SECRET}', 20)"
    )
    run = start_load("127.0.0.1:1", expect_workers=1, master_bind_port=port)
    other_worker = subprocess.Popen([sys.executable, "-c", other], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        assert run.end() not in (0, STOPPED_EARLY)
        assert run.status()["error"].endswith("has another version of the lab")
    finally:
        other_worker.kill()
        other_worker.wait()


def run_small(start_lab: StartLab, folder: Path, *words: object, **changes: Any) -> Lab:
    work = {"clients": 4, "duration_s": 0.5, **changes.pop("workload", {})}
    return start_lab("run", experiment_file(folder, workload=work, **{"arms": ARMS, **changes}), *words)


def test_a_worker_that_is_killed_costs_its_own_rows_only(start_lab: StartLab, tmp_path: Path) -> None:
    lab = run_small(start_lab, tmp_path, "--processes", 2, "--redo", 0, workload={"duration_s": 1.4})
    cell = lab.await_state("measure")
    while json.loads((cell / "load-status.json").read_text())["answered"] < 60:
        time.sleep(0.01)
    process(lab.process.pid, "load-worker-1").kill()
    status, out, _ = lab.end()
    assert status == 3, out
    summary = json.loads((lab.run / "summary.json").read_text())
    reasons = [reason for reason in summary["invalid_reasons"] if "generator" not in reason]
    assert len(reasons) == 1, reasons
    assert "round_robin, repeat 1: not usable, because load worker load-worker-1 was lost " in reasons[0]
    told = json.loads((cell / "cell.json").read_text())["load_workers"]
    lost, kept = told[1], told[0]
    missing = lost["planned_requests"] - lost["measured_requests"]
    assert f"{missing} of its {lost['planned_requests']} planned requests are missing" in reasons[0]
    rows = lab.rows("round_robin")
    assert [worker["ended"] for worker in told] == ["done", "lost"]
    assert kept["planned_requests"] == kept["measured_requests"]
    mine = rows["client"].is_in(lost["clients"])
    assert (mine.sum(), (~mine).sum()) == (lost["rows"], kept["rows"])
    assert lost["rows"] > 10


@pytest.mark.alone
def test_workers_started_by_hand_run_every_cell_and_end_with_the_run(
    start_lab: StartLab, tmp_path: Path
) -> None:
    port = free_port()
    workers = [start_worker(port, *before) for before in ([], ELSEWHERE if has_other_clocks() else [])]
    words = ("--expect-workers", 2, "--master-bind-port", port)
    spread = {"arm": "round_robin", "metric": "spread.max_over_mean", "at_most": 2}
    lab = run_small(start_lab, tmp_path, *words, repeats=2, expect=[spread])
    try:
        status, out, err = lab.end()
        assert (status, f"worker --master-host 127.0.0.1 --master-port {port}" in err) == (0, True), out + err
        for worker in workers:
            _, stderr = worker.communicate(timeout=10)
            assert worker.returncode == 0, stderr
            assert stderr.endswith("load worker: finished a cell\nload worker: the run is over\n")
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    for repeat in (1, 2):
        info = json.loads((lab.cell("round_robin", repeat) / "cell.json").read_text())
        assert [worker["ended"] for worker in info["load_workers"]] == ["done"] * 3
        ahead = sorted(worker["offset_ns"] for worker in info["load_workers"])[0]
        assert ahead == 0 or abs(ahead + 5000e9) < 1e9
    # On one clock, the requests of all workers are in the window, and Envoy's turns are even.
    assert json.loads((lab.run / "summary.json").read_text())["invalid_reasons"] == []
    answers = lab.rows("round_robin")["replica"].value_counts()["count"]
    assert answers.max() - answers.min() <= 1


@pytest.mark.calm
def test_a_worker_that_gets_sigterm_sends_its_finished_rows(
    start_cell: StartCell, start_load: StartLoad
) -> None:
    port = free_port()
    target = start_cell("direct", "round_robin").target
    run = start_load(target, expect_workers=1, master_bind_port=port, duration_s=1.2)
    worker = start_worker(port)
    try:
        run.await_answers(80)
        os.kill(worker.pid, signal.SIGTERM)
        _, stderr = worker.communicate(timeout=10)
        assert worker.returncode == 130, stderr
        assert run.end() == 0, run.stderr
    finally:
        worker.kill()
        worker.communicate()
    left, stayed = workers_of(run.folder)[1], workers_of(run.folder)[0]
    assert (left["ended"], stayed["ended"]) == ("lost", "done")
    mine = [row for row in run.rows() if row["client"] in left["clients"]]
    assert len(mine) == left["rows"] > 10
    served = {
        int(line.split(",")[0])
        for number in range(3)
        for line in (run.folder.parent / f"replica-{number}.csv").read_text().splitlines()[1:]
    }
    sent = {number for number in served if number // 10**9 in left["clients"]}
    # Calls that were open at SIGTERM: those of a few milliseconds, not those of a whole batch.
    assert len(sent - {row["request_id"] for row in mine}) <= 4
