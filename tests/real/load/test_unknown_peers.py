"""A peer without the run's secret can neither join a load with several processes nor disturb it."""

import subprocess
import sys
from pathlib import Path

import pytest
import zmq
from lab_process import ROOT, StartCell, StartLab, experiment_file, free_port
from load_process import SECRET, StartLoad, workers_of
from test_distributed import start_worker
from unknown_peers import ATTACKS, NO_MASTER, Recorder, attacked, encrypt, listening_port

from load.secret import SECRET_VARIABLE

OTHER_SECRET = "the secret of some other run"


@pytest.mark.parametrize("name", ATTACKS)
def test_an_unknown_peer_at_the_port_changes_nothing(
    name: str, start_cell: StartCell, start_load: StartLoad
) -> None:
    run = start_load(start_cell("direct", "round_robin").target, processes=2)
    with attacked(listening_port(run.process.pid), [ATTACKS[name]]):
        assert run.end() == 0, run.stderr
    assert {worker["ended"] for worker in workers_of(run.folder)} == {"done"}
    assert len(run.rows()) == run.status()["answered"] > 40
    assert "Traceback" not in run.stderr


def test_what_a_worker_sent_cannot_be_sent_again(start_cell: StartCell, start_load: StartLoad) -> None:
    port = free_port()
    run = start_load(
        start_cell("direct", "round_robin").target, expect_workers=1, master_bind_port=port, duration_s=2
    )
    recorder = Recorder(port)
    worker = start_worker(recorder.port)
    try:
        run.await_answers(20)
        assert len(recorder.sent) > 500
        with attacked(port, [recorder.replay]):
            assert run.end() == 0, run.stderr
        worker.communicate(timeout=10)
    finally:
        worker.kill()
        worker.communicate()
        recorder.close()
    assert recorder.replays > 2
    assert [worker["ended"] for worker in workers_of(run.folder)] == ["done", "done"]
    rows = run.rows()
    assert len({row["request_id"] for row in rows}) == len(rows) == run.status()["answered"]


def test_a_worker_with_another_secret_is_not_heard(
    start_load: StartLoad, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import sys, load.main as it, load.master; load.master.EXPECTED_WORKERS_TIMEOUT_S = 4; it.main()"
    )
    port = free_port()
    run = start_load("127.0.0.1:1", program, expect_workers=1, master_bind_port=port)
    monkeypatch.setenv(SECRET_VARIABLE, OTHER_SECRET)
    worker = start_worker(port)
    try:
        assert run.end() == 1
        assert run.status()["error"] == (
            "0 of 1 expected load workers came within 4 s; one with another secret cannot join"
        )
    finally:
        worker.kill()
        worker.communicate()


@pytest.mark.parametrize("secret", [None, OTHER_SECRET])
def test_a_worker_sends_nothing_to_a_master_with_another_secret(secret: str | None) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as master:
        if secret is not None:
            encrypt(master, secret)
        port = master.bind_to_random_port("tcp://127.0.0.1")
        session = (
            "import os, load.main, load.worker_session as it; "
            f"os._exit(it.run_session('127.0.0.1', {port}, '{SECRET}', 2))"
        )
        worker = subprocess.run([sys.executable, "-c", session], cwd=ROOT, timeout=30)
        assert worker.returncode == NO_MASTER
        assert not master.poll(0)


def test_a_run_without_a_secret_makes_one_for_its_workers(
    start_lab: StartLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SECRET_VARIABLE)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    port = free_port()
    lab = start_lab(*("run", experiment_file(tmp_path), "--expect-workers", 1, "--master-bind-port", port))
    lab.await_state("starting")
    (file,) = tmp_path.glob("lb-lab-worker-secret-*/secret")
    assert file.stat().st_mode & 0o777 == 0o600
    secret = file.read_text()
    worker = start_worker(port, more=["--secret-file", str(file)])
    try:
        status, out, err = lab.end()
        assert status in (0, 3), out + err  # 3: the machine was busy
        assert f"--master-port {port} --secret-file {file}\n" in err
        _, told = worker.communicate(timeout=10)
        assert worker.returncode == 0, told
    finally:
        worker.kill()
        worker.communicate()
    assert not file.exists()
    assert len(secret) == 64
    kept = [path for path in lab.run.rglob("*") if path.is_file()]
    assert not any(secret.encode() in path.read_bytes() for path in kept)


def test_a_worker_without_a_secret_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SECRET_VARIABLE)
    worker = start_worker(free_port())
    _, told = worker.communicate(timeout=20)
    assert (worker.returncode, told) == (2, "error: LB_LAB_WORKER_SECRET: there is no secret\n")
