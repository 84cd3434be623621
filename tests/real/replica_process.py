"""Starts real replica processes."""

import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
from forked_replica import MODULE, ForkedReplica

from harness.testbed.processes import ProcessFamily
from services.lab_control_pb2_grpc import LabControlStub
from services.video_service_pb2_grpc import VideoServiceStub

ROOT = Path(__file__).parents[2]


@dataclass
class Server:
    """One replica process and a channel to it."""

    process: subprocess.Popen[str] | ForkedReplica
    address: str
    ledger_path: Path
    channel: grpc.Channel
    control_channel: grpc.Channel | None

    @property
    def videos(self) -> VideoServiceStub:
        return VideoServiceStub(self.channel)

    @property
    def control(self) -> LabControlStub:
        return LabControlStub(self.control_channel or self.channel)

    def ledger(self) -> list[dict[str, str]]:
        with self.ledger_path.open() as file:
            return list(csv.DictReader(file))

    def rows_within(self, count: int, seconds: float = 2) -> list[dict[str, str]]:
        """Return the ledger once it has `count` rows, or after `seconds`.

        The row of a cancelled call comes a little later than the end of the call.
        """
        for _ in range(round(seconds / 0.01)):
            if len(self.ledger()) >= count:
                break
            time.sleep(0.01)
        return self.ledger()


StartReplica = Callable[..., Server]


def document(**settings: object) -> str:
    """Return a settings document with these keys. Calls take no time unless `settings` says so."""
    return json.dumps({"service_time_ms": {"distribution": "constant", "mean": 0}} | settings)


def start_server(
    folder: Path, number: int, *options: str, family: ProcessFamily | None = None, **settings: object
) -> Server:
    """Start replica-<number> on a free port and wait until it serves.

    `family`: the fork server that forks it; without one, it is a program of its own. `settings`: keys of its
    settings document. Calls take no time unless they say so.
    """
    ready, ledger = folder / f"ready-{number}.json", folder / f"replica-{number}.csv"
    own = ("--name", f"replica-{number}", "--listen", "127.0.0.1:0", "--settings", document(**settings))
    files = ("--ready", str(ready), "--ledger", str(ledger))
    process = start_process([*own, *files, *options], family, folder / f"replica-{number}.log")
    while not ready.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    entry = json.loads(ready.read_text())
    assert (entry["name"], entry["pid"]) == (f"replica-{number}", process.pid)
    # Each channel needs its own connection. By default gRPC shares one among channels with equal arguments.
    own_connection = [("grpc.use_local_subchannel_pool", 1)]
    channel = grpc.insecure_channel(entry["address"], options=own_connection)
    control_channel = None
    if entry["control_address"] != entry["address"]:
        control_channel = grpc.insecure_channel(entry["control_address"], options=own_connection)
    return Server(process, entry["address"], ledger, channel, control_channel)


def start_process(
    args: list[str], family: ProcessFamily | None, log: Path
) -> subprocess.Popen[str] | ForkedReplica:
    if family is not None:
        return ForkedReplica(family, args, log)
    command = [sys.executable, "-m", MODULE, *args]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def run_replica(*options: str) -> subprocess.CompletedProcess[str]:
    """Run a replica that ends by itself, and return its output and exit status."""
    command = [sys.executable, "-m", MODULE, *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
