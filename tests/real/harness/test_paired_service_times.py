"""A request takes the same service time in every arm of a repeat, wherever it is served."""

from pathlib import Path

import polars as pl
import pytest
from lab_process import Lab, StartLab, experiment_file

pytestmark = pytest.mark.alone  # a service time is slept, and a busy machine sleeps longer

ARMS = {
    "sticky": {"route": "envoy", "policy": "sticky"},
    "round_robin": {"route": "direct", "policy": "round_robin"},
    "threads": {"route": "direct", "policy": "round_robin", "server": "threads"},
}
# Each kind of call works once, GetVideo once a message.
CALLS = {"AddVideo": 2, "ListVideos": 1, "GetVideos": 1, "GetVideo": 1}


def both(lab: Lab, one: tuple[str, int], other: tuple[str, int]) -> pl.DataFrame:
    """Return the service times (ns) of the requests that two cells (arm, repeat) have in common."""
    left, right = (
        pl.read_parquet(lab.cell(*cell) / "requests.parquet")
        .filter(pl.col("code") == "OK")
        .select("request_id", "method", "replica", "service_ns")
        for cell in (one, other)
    )
    return left.join(right, on=["request_id", "method"], suffix="_other")


def correlation(pairs: pl.DataFrame) -> float:
    return float(pairs.select(pl.corr("service_ns", "service_ns_other")).item())


def test_the_same_request_takes_the_same_time_in_every_arm(tmp_path: Path, start_lab: StartLab) -> None:
    service = {"distribution": "exponential", "mean": 30}
    path = experiment_file(
        tmp_path,
        arms=ARMS,
        repeats=2,
        replicas={"slots": 12, "service_time_ms": service},
        workload={"rate_per_s": 120, "calls": CALLS, "messages_per_stream": 3, "duration_s": 2},
    )
    lab = start_lab("run", path, "--redo", 0)
    status, _, err = lab.end()
    assert status in (0, 3), err
    for repeat in (1, 2):
        for arm in ("round_robin", "threads"):
            pairs = both(lab, ("sticky", repeat), (arm, repeat))
            assert pairs.height > 200
            assert correlation(pairs) > 0.97
            moved = pairs.filter(pl.col("replica") != pl.col("replica_other"))
            assert moved.height > 50  # so it is not the replica's draw
            assert correlation(moved) > 0.97
    unpaired = both(lab, ("sticky", 1), ("sticky", 2))
    assert abs(correlation(unpaired)) < 0.3
