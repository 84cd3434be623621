"""Locust's page while a load runs: the requests that it answers and refuses, and what it shows."""

import http.client
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from lab_process import ROOT, StartCell, StartLab, experiment_file
from load_process import OPEN, StartLoad
from test_distributed import free_port

CHANGES = [
    ("POST", "/swarm", "user_count=1&spawn_rate=1"),
    ("POST", "/stop", ""),
    ("POST", "/stats/reset", ""),
    ("POST", "/user", '{"user_class_name": "GrpcClientUser"}'),
    ("PUT", "/stop", ""),
]


def ask(
    port: int, path: str = "/", method: str = "GET", body: str = "", **headers: str
) -> tuple[int, dict[str, str], str]:
    """Return the page's answer: status, headers, text."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request(method, path, body, {"Host": f"127.0.0.1:{port}", **form, **headers})
    response = connection.getresponse()
    answer = response.status, dict(response.getheaders()), response.read().decode()
    connection.close()
    return answer


@pytest.mark.parametrize("processes", [1, 2])
def test_it_shows_and_changes_nothing(processes: int, start_cell: StartCell, start_load: StartLoad) -> None:
    port = free_port()
    live = start_cell("direct", "round_robin")
    title = "arm_of_the_test: round_robin"
    run = start_load(live.target, processes=processes, duration_s=2, web_port=port, title=title)
    run.await_answers(20)
    for method, path, body in CHANGES:
        for headers in ({}, {"Origin": f"http://127.0.0.1:{port}"}, {"Origin": "http://elsewhere.example"}):
            assert ask(port, path, method, body, **headers)[0] == 403, (method, path, headers)
    status, headers, page = ask(port)
    assert (status, title in page) == (200, True)
    assert "Access-Control-Allow-Origin" not in headers
    rows = json.loads(ask(port, "/stats/requests")[2])["stats"]
    methods_and_replicas = {(row["method"], row["name"]) for row in rows if row["name"] != "Aggregated"}
    assert {replica for _, replica in methods_and_replicas} <= set(live.replicas)
    assert {method for method, _ in methods_and_replicas} <= set(OPEN.calls)
    assert run.end() == 0, run.stderr
    assert run.status()["state"] == "done"


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("Host", "rebound.example", 403),
        ("Host", "rebound.example:PORT", 403),
        ("Host", "127.0.0.1.rebound.example:PORT", 403),
        ("Host", "localhost:PORT", 200),
        ("Host", "127.0.0.1:9", 200),  # as through an SSH tunnel
        ("Origin", "http://elsewhere.example", 403),
        ("Origin", "http://127.0.0.1:9", 403),
        ("Origin", "null", 403),
        ("Origin", "http://127.0.0.1:PORT", 200),
    ],
)
def test_it_answers_pages_of_its_own_only(
    header: str, value: str, status: int, start_load: StartLoad
) -> None:
    port = free_port()
    run = start_load("127.0.0.1:1", web_port=port, duration_s=20)
    run.await_answers(1)
    got, headers, _ = ask(port, "/stats/requests", **{header: value.replace("PORT", str(port))})
    assert got == status
    assert "Access-Control-Allow-Origin" not in headers


def test_it_shows_the_arm_of_the_cell(start_lab: StartLab, tmp_path: Path) -> None:
    port = free_port()
    arms = {"by_cookie": {"route": "envoy", "policy": "sticky"}}
    path = experiment_file(tmp_path, arms=arms, repeats=2, workload={"duration_s": 1.5})
    lab = start_lab("run", path, "--web", "--web-port", port)
    lab.await_state("measure")
    page = ask(port)[2]
    for part in ("small, arm by_cookie (route envoy, policy sticky)", "repeat 1 of 2", "3 replicas"):
        assert part in page
    assert lab.end()[0] in (0, 3)


def test_the_page_of_the_locustfile_is_its_users_own(start_cell: StartCell) -> None:
    port = free_port()
    command = [sys.executable, "-m", "locust", "-f", "load/locustfile.py", "--web-port", str(port)]
    command += ["--host", start_cell("direct", "round_robin").replicas["replica-0"]]
    environment = {key: value for key, value in os.environ.items() if key != "LOCUST_SKIP_MONKEY_PATCH"}
    locust = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline_s = time.monotonic() + 30
        got = 0
        while not got and time.monotonic() < deadline_s:
            time.sleep(0.1)
            with suppress(OSError):
                got, headers, _ = ask(port)
        assert got == 200
        assert "Access-Control-Allow-Origin" not in headers
        start = ("/swarm", "POST", "user_count=1&spawn_rate=1")
        assert ask(port, *start, Origin="http://elsewhere.example")[0] == 403
        assert ask(port, *start, Origin=f"http://127.0.0.1:{port}")[0] == 200
    finally:
        locust.kill()
        locust.wait()
