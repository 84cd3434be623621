"""Measures one point with the lab's own parts. In bench.capacity, only this file starts processes."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from google.protobuf.message import Message

from bench.capacity import nghttp2
from bench.capacity.points import Point
from bench.load_run import run_load
from harness.plan.cells import CellPlan, plan_cells
from harness.proxy.render import Endpoint
from harness.record.access_log import ACCESS_LOG, scan_access_log
from harness.run.confirm import client_settings
from harness.run.provenance import host, versions
from harness.spec.experiment import load_experiment
from harness.testbed.base import LiveCell
from harness.testbed.local.testbed import LocalTestbed as LocalTestbed
from load.order import LoadOrder
from services import video_service_pb2 as pb

EXPERIMENT = Path(__file__).with_name("experiment.yaml")
SERVICE = "video_service.VideoService"
VIDEO = pb.Video(id="bench", title="Load", author="lb-lab", url="https://example.com/v.mp4", duration=1)
POLL_S, PATIENCE_S = 0.01, 30.0


def origin(words: str) -> dict[str, str]:
    """Return the columns that say when, where and with which versions a point is measured.

    `words`: more about the machine."""
    machine, found = host(), versions()
    memory = f"{machine.memory_bytes / 2**30:.0f} GiB"
    parts = (f"{part} {found[part]}" for part in ("lb-lab", "python", "envoy", "grpcio"))
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": ", ".join(filter(None, (f"{machine.cpus} cores", memory, machine.system, words))),
        "versions": ", ".join((*parts, nghttp2.version())),
    }


def measure(point: Point, testbed: LocalTestbed, folder: Path) -> dict[str, Any]:
    """Return the point and its measured columns. `folder` is new; all parts write into it."""
    (folder / "logs").mkdir(parents=True)
    settings: dict[str, object] = {"replicas.count": point.replicas, "workload.clients": point.clients}
    settings |= {"workload.rate_per_s": point.rate_per_s or 1, "seed": point.round}
    experiment = load_experiment(str(EXPERIMENT), settings)
    plan = next(plan for plan in plan_cells(experiment) if plan.arm_name == point.route)
    live = testbed.start_cell(experiment, plan, folder, time.monotonic_ns())
    try:
        found = _measure(point, plan, testbed, live)
    finally:
        testbed.stop_load()
        testbed.stop_cell()
    if point.what in ("envoy", "replica"):
        check_ledgers(folder)
    return point._asdict() | found


def _measure(point: Point, plan: CellPlan, testbed: LocalTestbed, live: LiveCell) -> dict[str, Any]:
    if point.what == "lab":
        return _run_load(plan, testbed, live, live.pids)
    if point.what == "replica":
        # h2load sends the same bytes each time, and a replica adds a video only once. So it asks for a video.
        request = pb.GetVideoRequest(id="sample-0")
        return _call(point, live, "GetVideos", request, {"replica": live.pids["replica-0"]})
    reply = pb.AddVideoReply(video=VIDEO)
    with nghttp2.answerers(point.replicas, f"{SERVICE}/AddVideo", reply, live.folder) as answering:
        replicas = dict(zip(live.replicas, answering, strict=True))
        pids = {f"answerer-{number}": pid for number, pid in enumerate(answering.values())}
        if point.what == "load":
            return _run_load(plan, testbed, replace(live, replicas=replicas), pids)
        _point_envoy_at(replicas, testbed, live)
        return _call(point, live, "AddVideo", VIDEO, pids | {"envoy": live.pids["envoy"]})


def _point_envoy_at(replicas: dict[str, str], testbed: LocalTestbed, live: LiveCell) -> None:
    """Give Envoy other endpoints than the real replicas, and wait until it uses them."""
    testbed.fleet.publish({name: Endpoint(address) for name, address in replicas.items()})
    assert live.envoy is not None
    deadline_s = time.monotonic() + PATIENCE_S
    while set(live.envoy.endpoint_health()) != set(replicas.values()):
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"Envoy did not take over the endpoints in {PATIENCE_S:g} s")
        time.sleep(POLL_S)


def _call(
    point: Point, live: LiveCell, method: str, request: Message, pids: dict[str, int]
) -> dict[str, Any]:
    url = f"http://{live.target}/{SERVICE}/{method}"
    return nghttp2.call(url, request, point.clients, point.rate_per_s, pids, live.folder)


def _run_load(plan: CellPlan, testbed: LocalTestbed, live: LiveCell, pids: dict[str, int]) -> dict[str, Any]:
    work, settings = plan.workload, client_settings(plan, live, time.monotonic_ns())
    order = LoadOrder(plan.load, settings, work.warm_up_s, work.duration_s, live.folder)
    return run_load(testbed, order, pids)


def check_ledgers(folder: Path) -> None:
    """Raise RuntimeError if calls failed."""
    codes = {code for path in folder.glob("replica-*.csv") for code in pl.read_csv(path)["code"]}
    codes |= {code for path in folder.glob(ACCESS_LOG) for code in scan_access_log(path).collect()["grpc"]}
    if failed := codes - {"OK", "CANCELLED", None}:  # h2load ends while calls are in flight
        raise RuntimeError(f"calls of h2load failed: {failed}")
