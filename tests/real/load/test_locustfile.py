"""Locust files, run by Locust's own command: no flag, no variable, workers as ever."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from lab_process import ROOT, StartCell

SKIP = "LOCUST_SKIP_MONKEY_PATCH"

OWN_FILE = """
import grpc
from locust import constant, task
from load.lab_user import LabUser, pb

class Mine(LabUser):
    wait_time = constant(0.05)

    def on_start(self):
        print("client", self.client_number)

    @task
    def two_calls(self):
        video = pb.Video(id=self.new_id(), title="t", author="a", url="https://e.com/v", duration=1)
        self.stub.AddVideo(video)
        try:
            self.stub.AddVideo(pb.Video(id="sample-0"))
        except grpc.RpcError as error:
            print("refused", error.code().name)
"""


def locust(file: Path | str, host: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "locust", "-f", str(file), "--host", host, "--headless", *words]
    environment = {key: value for key, value in os.environ.items() if key != SKIP}  # other tests may set it
    return subprocess.run(
        command, cwd=ROOT, env=environment | more, capture_output=True, text=True, timeout=60
    )


def requests_by_replica(live) -> Counter[str]:
    """Envoy's own count of the requests that it sent to each replica."""
    names = {address: name for name, address in live.replicas.items()}
    counts: Counter[str] = Counter()
    for cluster in json.loads(live.envoy.get("/clusters?format=json"))["cluster_statuses"]:
        for host in cluster.get("host_statuses", ()):
            address = host["address"]["socket_address"]
            total = next(one for one in host["stats"] if one["name"] == "rq_total")
            name = names.get(f"{address['address']}:{address['port_value']}")
            if name:
                counts[name] += int(total.get("value", 0))
    return counts


def test_the_file_of_the_lab_runs_headless_and_locust_counts_every_call(start_cell: StartCell) -> None:
    live = start_cell("envoy", "sticky")
    done = locust("load/locustfile.py", live.target, "-u", "4", "-r", "4", "-t", "3s", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {row["method"] for row in rows} <= {"GetVideo", "ListVideos", "AddVideo"}
    assert not any(row["num_failures"] for row in rows)
    counted: Counter[str] = Counter()
    for row in rows:
        counted[row["name"]] += row["num_requests"]
    assert sum(counted.values()) >= 4
    sent = requests_by_replica(live)
    # Locust stops users in the middle of a call. Envoy has such a call, and Locust does not.
    assert all(counted[name] <= sent[name] for name in counted)
    assert sum(sent.values()) - sum(counted.values()) <= 4


def test_a_file_of_ones_own_with_workers_and_failures(start_cell: StartCell, tmp_path: Path) -> None:
    """Users of different workers are different clients; a failed call raises, and Locust counts it."""
    (tmp_path / "mine.py").write_text(OWN_FILE)
    live = start_cell("direct", "round_robin")
    host = live.replicas["replica-0"]
    done = locust(
        tmp_path / "mine.py", host, "-u", "4", "-r", "4", "-t", "3s", "--processes", "2", "--only-summary"
    )
    clients = re.findall(r"^client (\d+)$", done.stdout, re.M)
    assert len(clients) == len(set(clients)) == 4, done.stdout + done.stderr
    assert {int(client) // 1_000_000 for client in clients} == {0, 1}
    assert "refused INVALID_ARGUMENT" in done.stdout or "refused ALREADY_EXISTS" in done.stdout
    assert done.returncode == 1  # Locust's: some requests failed
    found = re.search(r"^AddVideo +replica-0 +(\d+) +(\d+)\(", done.stdout + done.stderr, re.M)
    assert found, done.stdout + done.stderr
    assert 0 < int(found[2]) <= int(found[1])


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("", "error: no --host; expected --host HOST:PORT"),
        ("lb.example.com", "error: --host: 'lb.example.com' is not HOST:PORT; expected --host HOST:PORT"),
    ],
)
def test_a_host_that_cannot_be_called_is_one_line(host: str, told: str) -> None:
    done = locust("load/locustfile.py", host, "-u", "3", "-t", "1s")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == told
    assert "Traceback" not in done.stderr


def test_without_locusts_gevent_it_says_why() -> None:
    done = locust("load/locustfile.py", "127.0.0.1:1", "-t", "1s", **{SKIP: "1"})
    assert "load.lab_user needs Locust's gevent; do not set LOCUST_SKIP_MONKEY_PATCH" in done.stderr
