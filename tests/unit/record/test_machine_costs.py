"""The fixed costs of this machine: learned from calm arms, never from bad ones, and lost without harm."""

from pathlib import Path

import pytest

from harness.analysis.summary import facts_of, summarise
from harness.record.machine_costs import (
    REMEMBERED,
    MachineCosts,
    RunCosts,
    costs_file,
    known_costs,
    read_costs,
    remember_costs,
)
from harness.record.run_directory import read_run
from harness.record.summary import Summary
from tests.unit.synthetic.synthetic_run import GOLDEN

pytestmark = pytest.mark.whole_run

COST_MS = {"late_sending": 0.5, "to_proxy": 1.0, "proxy_to_replica": 2.0, "way_back": 4.0, "queue": 0.0}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def a_run(queue_ms: float = 0.0, wrong: bool = False) -> Summary:
    run = read_run(GOLDEN)
    summary = summarise(run, facts_of(run))
    for arm in summary.arms.values():
        arm.errors = {}
        arm.metrics |= {f"stage_ms.{name}.p50": ms for name, ms in COST_MS.items()}
        arm.metrics["stage_ms.queue.p50"] = queue_ms
        for repeat in arm.repeats:
            repeat.invalid_reasons = ["not usable, because of this test"] if wrong else []
    return summary


def test_a_calm_run_teaches_the_costs() -> None:
    summary = a_run()
    remember_costs("local", summary)
    route = next(iter(summary.arms.values())).route
    assert known_costs(read_costs(), "local", route) == RunCosts(to_proxy=1.5, to_replica=2.0, way_back=4.0)
    assert known_costs(read_costs(), "docker", route) is None


@pytest.mark.parametrize(("queue_ms", "wrong"), [(5.0, False), (0.0, True)])
def test_a_busy_or_wrong_run_teaches_nothing(queue_ms: float, wrong: bool) -> None:
    remember_costs("local", a_run(queue_ms, wrong))
    assert read_costs().seen == {}


def test_the_newest_runs_count_and_their_median() -> None:
    for _ in range(REMEMBERED + 3):
        remember_costs("local", a_run())
    (seen,) = read_costs().seen.values()
    assert len(seen) == REMEMBERED
    costs = MachineCosts(
        seen={"local/envoy": [RunCosts(to_proxy=ms, to_replica=ms, way_back=ms) for ms in (1.0, 90.0, 2.0)]}
    )
    assert known_costs(costs, "local", "envoy") == RunCosts(to_proxy=2.0, to_replica=2.0, way_back=2.0)


def test_a_damaged_file_or_a_closed_folder_does_no_harm(tmp_path: Path) -> None:
    costs_file().parent.mkdir(parents=True)
    costs_file().write_text("{")
    assert read_costs().seen == {}
    costs_file().unlink()
    costs_file().mkdir()
    remember_costs("local", a_run())
    assert read_costs().seen == {}
