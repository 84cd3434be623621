"""A request takes the same service time in every arm of a repeat, wherever it is served."""

from pathlib import Path

import polars as pl
import pytest
from lab_process import Lab, StartLab, experiment_file

from lb.rows import REQUEST_IDS_PER_CLIENT
from services.draws import uniform
from services.service_time import draw_ns
from services.settings import ServiceTime

pytestmark = pytest.mark.alone  # a service time is slept, and a busy machine sleeps longer

ARMS = {
    "sticky": {"route": "envoy", "policy": "sticky"},
    "round_robin": {"route": "direct", "policy": "round_robin"},
    "threads": {"route": "direct", "policy": "round_robin", "server": "threads"},
}
MESSAGES = 3
SERVICE = {
    "distribution": "exponential",
    "mean": 30,
    "methods": {"GetVideo": 20},
    "dear": {"by": "client", "share": 0.25, "factor": 3},
}
EARLY_NS = MESSAGES * 2_000_000  # a sleep makes up for the error of the one before, up to a millisecond
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


def drawn_ns(request_id: int, method: str, repeat: int) -> int:
    """Return the service time that belongs to a request of the experiment's seed, 1."""
    service_time = ServiceTime.model_validate(SERVICE)
    works = range(1, 1 + (MESSAGES if method == "GetVideo" else 1))
    draws = (uniform(f"1.{repeat}/{request_id}/service/{work}") for work in works)
    client = request_id // REQUEST_IDS_PER_CLIENT
    return sum(draw_ns(service_time, draw, client=client, method=method) for draw in draws)


def correlation(pairs: pl.DataFrame) -> float:
    return float(pairs.select(pl.corr("service_ns", "service_ns_other")).item())


def test_the_same_request_takes_the_same_time_in_every_arm(tmp_path: Path, start_lab: StartLab) -> None:
    path = experiment_file(
        tmp_path,
        arms=ARMS,
        repeats=2,
        replicas={"slots": 12, "service_time_ms": SERVICE},
        workload={"rate_per_s": 120, "calls": CALLS, "messages_per_stream": MESSAGES, "duration_s": 2},
    )
    lab = start_lab("run", path, "--redo", 0)
    status, _, err = lab.end()
    assert status in (0, 3), err
    for repeat in (1, 2):
        for arm in ("round_robin", "threads"):
            pairs = both(lab, ("sticky", repeat), (arm, repeat))
            drawn = [drawn_ns(*row, repeat) for row in pairs.select("request_id", "method").iter_rows()]
            pairs = pairs.with_columns(pl.Series("drawn_ns", drawn))
            assert pairs.height > 200
            assert correlation(pairs) > 0.9
            moved = pairs.filter(pl.col("replica") != pl.col("replica_other"))
            assert moved.height > 50  # so it is not the replica's draw
            assert correlation(moved) > 0.9
            assert pairs.select((pl.col("service_ns") - pl.col("drawn_ns")).min()).item() > -EARLY_NS
    unpaired = both(lab, ("sticky", 1), ("sticky", 2))
    assert abs(correlation(unpaired)) < 0.3
