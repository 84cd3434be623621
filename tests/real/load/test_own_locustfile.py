"""A Locust file of the user's own as the load of an experiment: every call in three ledgers."""

import json
import signal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lab_process import SMALL, StartLab, free_port
from test_web_page import ask

from lb.rows import CLOSED_LOOP_MEASURED, REQUEST_IDS_PER_CLIENT

TASKS = """
import grpc
from locust import constant, task
from load.lab_user import LabUser, pb

class Mine(LabUser):
    wait_time = constant(0.02)

    def add(self, **options):
        video = pb.Video(id=self.new_id(), title="t", author="a", url="https://e.com/v", duration=1)
        self.stub.AddVideo(video, **options)

    @task
    def everything(self):
        self.add()
        ids = [pb.GetVideoRequest(id=f"sample-{number}") for number in range(3)]
        assert len(self.stub.GetVideos(iter(ids)).videos) == 3
        assert len(list(self.stub.GetVideo(iter(ids)))) == 3
        for _ in self.stub.ListVideos(pb.ListVideosRequest(limit=50, cycle=True, gap_ms=10)):
            break  # this user has seen enough
        try:
            self.add(timeout=0.0005)
        except grpc.RpcError:
            pass
"""


def experiment(folder: Path, tasks: str, **workload: Any) -> Path:
    (folder / "mine.py").write_text(tasks)
    work = {"locustfile": "mine.py", "users": 4, "warm_up_s": 0.4, "duration_s": 1.5, **workload}
    (folder / "own.yaml").write_text(json.dumps({**SMALL, "workload": work}))
    return folder / "own.yaml"


def test_every_call_of_the_tasks_is_in_the_three_ledgers(start_lab: StartLab, tmp_path: Path) -> None:
    """Also those that time out, and streams that a user does not read to their end."""
    lab = start_lab("run", experiment(tmp_path, TASKS, spawn_rate=20))
    status, out, err = lab.end()
    assert status == 0, out + err
    summary = json.loads((lab.run / "summary.json").read_text())
    assert (summary["invalid_reasons"], summary["verdict"]) == ([], "measured")
    assert summary["notes"][0].startswith("closed loop: a user who waits")
    assert " ".join(summary["notes"][0].split()[:4]) in out
    assert (lab.run / "mine.py").read_text() == TASKS
    for arm, figures in summary["arms"].items():
        assert figures["ledgers"]["reconciled"], figures["ledgers"]
        assert figures["stream"]["missing_messages"] is None
        rows = lab.rows(arm)
        assert set(rows["method"]) == {"AddVideo", "GetVideos", "GetVideo", "ListVideos"}
        assert {"OK", "CANCELLED"} < set(rows["code"])  # and how a call ends that has half a millisecond
        assert set(rows["client"]) == {0, 1, 2, 3}
        numbers = {row % REQUEST_IDS_PER_CLIENT // CLOSED_LOOP_MEASURED for row in rows["request_id"]}
        assert numbers == {0, 1}  # of the warm-up and of the measured window
        cell = json.loads((lab.cell(arm) / "cell.json").read_text())
        assert cell["own_tasks"] is True
    purity = {arm: figures["affinity"]["purity"] for arm, figures in summary["arms"].items()}
    assert purity["sticky"] == 1.0 > purity["round_robin"]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (
            "from locust import User\nclass Other(User):\n    pass\n",
            "Other is no LabUser (load.lab_user), so",
        ),
        ("nothing = 1\n", "there is no user class in it"),
        ("import nothing_such\n", "ModuleNotFoundError: No module named 'nothing_such'"),
        (
            "from locust import constant, task\nfrom load.lab_user import LabUser\nclass Idle(LabUser):\n"
            "    wait_time = constant(1)\n    @task\n    def idle(self):\n        pass\n",
            "its users made no call in 0.2 s",
        ),
    ],
)
def test_a_file_that_cannot_be_the_load_is_one_line(
    tasks: str, message: str, start_lab: StartLab, tmp_path: Path
) -> None:
    lab = start_lab("run", experiment(tmp_path, tasks, warm_up_s=0, duration_s=0.2))
    status, _, err = lab.end()
    assert status == 4
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert message in line
    assert "mine.py" in line


def test_users_are_dealt_over_processes(start_lab: StartLab, tmp_path: Path) -> None:
    lab = start_lab("run", experiment(tmp_path, TASKS, users=5, spawn_rate=50), "--processes", 2)
    status, out, err = lab.end()
    assert status == 0, out + err
    summary = json.loads((lab.run / "summary.json").read_text())
    assert summary["invalid_reasons"] == []
    for arm, figures in summary["arms"].items():
        assert figures["ledgers"]["reconciled"], figures["ledgers"]
        rows = lab.rows(arm)
        assert set(rows["client"]) == set(range(5))
        workers = json.loads((lab.cell(arm) / "load-workers.json").read_text())
        assert sorted(len(worker["clients"]) for worker in workers) == [2, 3]
        assert all((worker["ended"], worker["measured_requests"] > 0) == ("done", True) for worker in workers)
        # No call is under way between warm-up and measured window, in any of the processes.
        start_ns = json.loads((lab.cell(arm) / "cell.json").read_text())["measure_start_ns"]
        measured = pl.col("request_id") % REQUEST_IDS_PER_CLIENT >= CLOSED_LOOP_MEASURED
        assert rows.filter(~measured)["done_ns"].max() < start_ns <= rows.filter(measured)["sent_ns"].min()


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (
            f"{TASKS}    fixed_count = 1\n",
            "Mine has a fixed_count, and each process would have so many; leave out --processes, or",
        ),
        (
            "from locust import constant, task\nfrom load.lab_user import LabUser\nclass Idle(LabUser):\n"
            "    wait_time = constant(1)\n    @task\n    def idle(self):\n        pass\n",
            "its users made no call in 0.2 s",
        ),
    ],
)
def test_a_file_that_cannot_be_the_load_of_several_processes_is_one_line(
    tasks: str, message: str, start_lab: StartLab, tmp_path: Path
) -> None:
    path = experiment(tmp_path, tasks, warm_up_s=0, duration_s=0.2)
    lab = start_lab("run", path, "--processes", 2)
    status, _, err = lab.end()
    assert status == 4
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert message in line
    assert "mine.py" in line


def test_workers_elsewhere_have_no_copy_of_it(start_lab: StartLab, tmp_path: Path) -> None:
    status, _, err = start_lab("run", experiment(tmp_path, TASKS), "--expect-workers", 1).end()
    assert status == 2
    assert "--expect-workers: workers elsewhere have no copy of the Locust file, and run no code that" in err


def test_its_page_is_read_only_and_ctrl_c_ends_it(start_lab: StartLab, tmp_path: Path) -> None:
    port = free_port()
    path = experiment(tmp_path, TASKS, duration_s=60)
    lab = start_lab("run", path, "--web", "--web-port", port)
    lab.await_state("measure")
    assert "127.0.0.1:" in ask(port)[2]  # the target, which is the users' `host`
    assert ask(port, "/stop", "POST")[0] == 403
    assert ask(port, "/swarm", "POST", "user_count=1&spawn_rate=1")[0] == 403
    rows = json.loads(ask(port, "/stats/requests")[2])["stats"]
    assert {row["method"] for row in rows} & {"AddVideo", "GetVideo"}
    lab.process.send_signal(signal.SIGINT)
    assert lab.end()[0] == 130
    assert lab.manifest["status"] == "interrupted"
    assert list(lab.run.glob("cells/*/requests.parquet"))
