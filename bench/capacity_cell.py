"""Measures one point: a cell of the lab, or one of its parts alone with cheap peers."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.capacity_load import bytes_per_row, play_load
from bench.capacity_points import Point
from bench.capacity_usage import Usage
from harness.events.fleet import Endpoint
from harness.plan.cells import plan_cells
from harness.spec.experiment import load_experiment
from harness.testbed.base import LiveCell
from harness.testbed.local.testbed import LocalTestbed

ROOT = Path(__file__).resolve().parent.parent
ALONE_S, SETTLE_S = 3.0, 0.5
POLL_S = 0.02
PATIENCE_S = 30.0


def measure(point: Point, testbed: LocalTestbed, folder: Path) -> dict[str, Any]:
    """The point with what was measured, for JSON. `folder`: new, for what the parts write."""
    experiment = load_experiment(
        str(ROOT / "bench" / "capacity.yaml"),
        {
            "replicas.count": point.replicas,
            "workload.clients": point.clients,
            "workload.rate_per_s": point.rate_per_s or 1,
            "seed": point.round,
        },
    )
    plan = next(plan for plan in plan_cells(experiment) if plan.arm_name == point.route)
    (folder / "logs").mkdir(parents=True)
    live = testbed.start_cell(experiment, plan, folder, time.monotonic_ns())
    try:
        if point.what == "lab":
            found = play_load(plan, testbed, live, live.pids)
        elif point.what == "load":
            with _answerer(1) as (addresses, pid):
                answering = replace(live, replicas={"replica-0": addresses[0]})
                found = play_load(plan, testbed, answering, {"answerer": pid})
        elif point.what == "replica":
            found = _drive(point, live.target, {"replica": live.pids["replica-0"]})
        else:
            with _answerer(point.replicas) as (addresses, pid):
                _send_envoy_to(addresses, live, testbed)
                found = _drive(point, live.target, {"envoy": live.pids["envoy"], "answerer": pid})
    finally:
        testbed.stop_load()
        testbed.stop_cell()
    disk = bytes_per_row(folder) if point.what == "lab" else {}
    return asdict(point) | found | disk


def _send_envoy_to(addresses: list[str], live: LiveCell, testbed: LocalTestbed) -> None:
    """Put the answerers into the replicas' place."""
    testbed.fleet.publish(dict(zip(live.replicas, map(Endpoint, addresses), strict=True)))
    envoy = live.envoy
    assert envoy is not None
    _until(lambda: set(envoy.endpoint_health()) == set(addresses), "Envoy took the endpoints over")


def _drive(point: Point, target: str, pids: dict[str, int]) -> dict[str, Any]:
    """Watch one part while the cheap caller calls it."""
    words = (target, str(point.clients), str(point.rate_per_s), str(SETTLE_S + ALONE_S))
    with _peer("drive", *words) as driver:
        usage = Usage(pids | {"caller": driver.pid})
        started_s = time.monotonic()
        assert driver.stdout is not None
        for line in driver.stdout:
            if time.monotonic() > started_s + SETTLE_S:
                usage.sample(json.loads(line))
            if usage.seconds > ALONE_S / 2:
                usage.memory()
        if driver.wait(PATIENCE_S) != 0:
            raise RuntimeError(f"the caller of {point} failed")
    return usage.used()


@contextmanager
def _answerer(ports: int) -> Iterator[tuple[list[str], int]]:
    """Its addresses, "host:port", and its process id."""
    with _peer("answer", str(ports)) as peer:
        assert peer.stdout is not None
        yield json.loads(peer.stdout.readline()), peer.pid


@contextmanager
def _peer(*words: str) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-m", "bench.capacity_h2", *words]
    pipe = subprocess.PIPE  # its input closes with this process, however it ends, and the peer with that
    with subprocess.Popen(argv, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as peer:
        try:
            yield peer
        finally:
            peer.kill()


def _until(ready: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not ready():
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"not so after {PATIENCE_S:g} s: {what}")
        time.sleep(POLL_S)
