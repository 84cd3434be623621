"""The simulator against a run on real parts: Envoy, gRPC replicas and the lab's load (recorded/).

The simulator gets the recorded sending times and service times. It must place the calls as Envoy did, and
find the waiting times that the replicas and the clients found. The machine was shared and busy when this was
recorded: a median answer lost 3 ms (sticky) and 8 ms (round_robin) on its way, and one in a hundred 66 and
188 ms. The simulator's constant costs do not have that; so latencies have a wider tolerance than queues.
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import tests.simulator.kernels  # noqa: F401
from harness.plan.cells import plan_cells
from harness.spec.experiment import load_experiment
from harness.testbed.simulated.model import system_of
from simulator.simulation import simulate
from simulator.system import Calls, Outcome

RECORDED = Path(__file__).with_name("recorded")
QUEUE_P99, LATENCY_P50, LATENCY_P99 = 0.07, 0.2, 0.08  # of the recorded value


def replay(arm: str) -> tuple[pl.DataFrame, Any, Outcome]:
    """Return the recorded calls of an arm, the replica of each, and what the simulator makes of them."""
    rows = pl.read_parquet(RECORDED / f"{arm}.parquet")
    replica = rows["replica"].str.strip_prefix("replica-").cast(pl.Int64).to_numpy()
    client = rows["client"].to_numpy().astype(np.int64)
    calls = Calls(
        client=client,
        session=client,
        channel=client,
        measured=np.ones(len(rows), bool),
        planned_ns=rows["sent_ns"].to_numpy().copy(),
        work_ns=rows["service_ns"].to_numpy().copy(),
        key=np.zeros(len(rows), np.uint64),
    )
    experiment = load_experiment(str(RECORDED / "experiment.yaml"), name="recorded")
    plan = next(plan for plan in plan_cells(experiment) if plan.arm_name == arm)
    system = system_of(experiment, plan)
    # Where Envoy's turns begin is drawn; here it is what Envoy drew.
    begun = type(system)(**{**vars(system), "first_turn": int(replica[0])})
    return rows, replica, simulate(begun, calls)


@pytest.mark.parametrize("arm", ["sticky", "round_robin"])
def test_placement_and_waiting_times_are_those_of_the_real_run(arm: str) -> None:
    rows, replica, found = replay(arm)
    counts = [np.bincount(who, minlength=4) for who in (replica, found.replica)]
    if arm == "sticky":
        assert (found.replica == replica).all()
    else:
        # Two calls sent within a millisecond may reach Envoy in the other order, and change places.
        assert np.abs(counts[0] - counts[1]).max() <= 1
        assert (found.replica == replica).mean() > 0.95
    latency_ns = (rows["done_ns"] - rows["sent_ns"]).to_numpy()
    for share, tolerance in ((0.5, LATENCY_P50), (0.99, LATENCY_P99)):
        simulated = np.quantile(found.answered_ns - found.sent_ns, share)
        assert simulated == pytest.approx(np.quantile(latency_ns, share), rel=tolerance)
    queue_p99 = np.quantile(rows["queue_ns"].to_numpy(), 0.99)
    assert np.quantile(found.queue_ns, 0.99) == pytest.approx(queue_p99, rel=QUEUE_P99)


def test_the_simulator_finds_what_stickiness_costs() -> None:
    """The ratio that the experiment is about: p99 of sticky / p99 of round robin."""
    ratios = []
    for which in ("recorded", "simulated"):
        p99 = {}
        for arm in ("sticky", "round_robin"):
            rows, _, found = replay(arm)
            recorded_ns = (rows["done_ns"] - rows["sent_ns"]).to_numpy()
            p99[arm] = np.quantile(
                recorded_ns if which == "recorded" else found.answered_ns - found.sent_ns, 0.99
            )
        ratios.append(p99["sticky"] / p99["round_robin"])
    assert ratios[1] == pytest.approx(ratios[0], rel=0.1)
    assert min(ratios) > 8
