"""Replicas and proxy stop and start during all kinds of calls: each planned call gets a row, in time."""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lab_process import experiment_file
from load_process import LoadProcess

from harness.events.context import Fleet
from harness.fields import PROXY
from harness.plan.cells import CellPlan, plan_cells
from harness.run.confirm import client_settings
from harness.spec.experiment import load_experiment
from harness.testbed.local.testbed import LocalTestbed
from lb.plan import NS_PER_S, Phase, open_loop
from load.order import LoadOrder

pytestmark = pytest.mark.calm  # each call must have its row in time

WORK = {
    **{"clients": 6, "rate_per_s": 240, "warm_up_s": 0.3, "duration_s": 5.0, "deadline_ms": 600},
    **{"messages_per_stream": 8, "message_gap_ms": 15},
    "calls": {"AddVideo": 1, "ListVideos": 1, "GetVideos": 1, "GetVideo": 1},
}
STEP_S = 0.12
LATE_S = 5  # on a busy machine
PATIENCE_NS = 60 * NS_PER_S
# Codes of calls whose connection, replica or proxy goes, or whose deadline passes.
CODES = {"OK", "UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL"}

Act = Callable[[], object]


def churn(fleet: Fleet, proxy: bool) -> Iterator[Act]:
    """Yield changes to replicas and proxy for ever. Connections also end by GOAWAY at their maximum age."""

    def start(name: str) -> Act:
        return lambda: fleet.running(name) or fleet.start(name)

    while True:
        yield lambda: fleet.kill("replica-0")
        yield lambda: fleet.pause("replica-1")
        yield start("replica-0")
        yield lambda: fleet.stop("replica-2")
        yield lambda: fleet.resume("replica-1")
        yield from [start("replica-2")] * 3
        if proxy:
            yield lambda: fleet.stop_proxy(PROXY)
            while fleet.proxy_running(PROXY):
                yield lambda: None
            yield lambda: fleet.start_proxy(PROXY)
        while not all(fleet.running(name) for name in ("replica-0", "replica-2")):
            yield start("replica-2")


@contextmanager
def running_load(folder: Path, arm: dict[str, Any]) -> Iterator[tuple[CellPlan, LoadProcess]]:
    """Run a load process to its end while replicas and proxy stop and start."""
    fast = {"interval_ms": 100, "timeout_ms": 100, "unhealthy_after": 1, "healthy_after": 1}
    proxy = arm["route"] != "direct"
    changed_arm = {**arm, "max_connection_age_s": 0.7, **({"proxy_health_check": fast} if proxy else {})}
    replicas = {"slots": 4, "service_time_ms": {"distribution": "exponential", "mean": 3}}
    experiment = load_experiment(
        str(experiment_file(folder, arms={"arm": changed_arm}, workload=WORK, replicas=replicas))
    )
    plan, epoch_ns = plan_cells(experiment)[0], time.monotonic_ns()
    with LocalTestbed(folder / "logs", load=False) as testbed:
        live = testbed.start_cell(experiment, plan, folder, epoch_ns)
        work = plan.workload
        settings = client_settings(plan, live, epoch_ns)
        run = LoadProcess(LoadOrder(plan.load, settings, work.warm_up_s, work.duration_s, folder))
        try:
            for act in churn(testbed.fleet, proxy):
                if run.process.poll() is not None or time.monotonic_ns() > epoch_ns + PATIENCE_NS:
                    break
                act()
                time.sleep(STEP_S)
            yield plan, run
        finally:
            run.process.kill()
            run.process.communicate()


def planned(plan: CellPlan) -> Counter[tuple[int, str]]:
    """Return the planned calls of both phases by (client, method)."""
    phases: list[tuple[Phase, float]] = [
        ("warm_up", plan.workload.warm_up_s),
        ("measure", plan.workload.duration_s),
    ]
    return Counter(
        (client, call.method)
        for (phase, duration_s), client in itertools.product(phases, range(plan.load.clients))
        for call in open_loop(plan.load, client, phase, duration_s, opens=phase == "warm_up")
    )


@pytest.mark.parametrize(
    "arm",
    [
        {"route": "direct", "policy": "round_robin"},
        {"route": "direct", "policy": "pick_first"},
        {"route": "direct", "policy": "round_robin", "discovery": "dns", "dns_interval_ms": 100},
        {"route": "envoy", "policy": "sticky"},
        {"route": "envoy-l4", "policy": "round_robin"},
    ],
    ids=lambda arm: "-".join(str(arm[key]) for key in ("route", "policy", "discovery") if key in arm),
)
def test_every_planned_call_ends_with_a_row(arm: dict[str, Any], tmp_path: Path) -> None:
    with running_load(tmp_path, arm) as (plan, run):
        assert run.end() == 0, run.stderr
        rows = run.rows()
    assert "Traceback" not in run.stderr
    assert "never retrieved" not in run.stderr
    assert Counter((row["client"], row["method"]) for row in rows) == planned(plan)
    assert len({row["request_id"] for row in rows}) == len(rows) == run.status()["answered"]
    codes = Counter(row["code"] for row in rows)
    assert set(codes) <= CODES
    assert codes["OK"] > 0 < codes["UNAVAILABLE"]
    if arm["route"] != "envoy":  # Envoy ends a broken stream with INTERNAL after its first message
        assert codes["INTERNAL"] == 0
    longest_ns = max(row["done_ns"] - row["sent_ns"] for row in rows)
    assert longest_ns < (0.6 + LATE_S) * NS_PER_S
