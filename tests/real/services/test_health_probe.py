"""The health check of a container: a process and its exit status."""

import os
import socket
import subprocess
import sys

from replica_process import ROOT, Server

from services.lab_control_pb2 import SetServingRequest


def probe(address: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "services.health_probe"],
        cwd=ROOT,
        env=os.environ | {"LB_LAB_HEALTH": address, "http_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr


def test_exit_status_follows_the_health_service(server: Server) -> None:
    assert probe(server.address) == (0, "")
    server.control.SetServing(SetServingRequest(serving=False))
    assert probe(server.address) == (1, f"{server.address}: not serving\n")


def test_no_answer_is_unhealthy() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # accepts the connection and sends nothing
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        status, stderr = probe(address)
    assert status == 1
    assert stderr.startswith(f"{address}: ")
    assert "Traceback" not in stderr
