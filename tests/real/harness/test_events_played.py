"""Events happen to the real parts when they are planned, and the record says when each took effect."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lab_process import Lab, StartLab, experiment_file

QUICK_CHECKS = {"interval_ms": 100, "timeout_ms": 100, "unhealthy_after": 2, "healthy_after": 2}
PROXY = {"route": "envoy", "policy": "round_robin", "proxy_health_check": QUICK_CHECKS}
# Each replica always has some calls in flight.
IN_HAND = {"service_time_ms": {"distribution": "constant", "mean": 60}}
ASKED_LATE_NS = 1_000_000_000  # on a machine with three tests at a time; about a millisecond on a calm one


class Story:
    """The record of one cell with events."""

    def __init__(self, lab: Lab, arm: str) -> None:
        self.cell = lab.cell(arm)
        self.info: dict[str, Any] = json.loads((self.cell / "cell.json").read_text())
        self.lines = [json.loads(line) for line in (self.cell / "events.jsonl").read_text().splitlines()]
        self.rows = lab.rows(arm).sort("planned_ns")
        summary = json.loads((lab.run / "summary.json").read_text())
        self.figures: dict[str, Any] = summary["arms"][arm]

    def of(self, event: str, **keys: object) -> Iterator[dict[str, Any]]:
        for line in self.lines:
            if line["event"] == event and all(line.get(key) == value for key, value in keys.items()):
                yield line

    def asked(self, number: int) -> dict[str, Any]:
        return next(self.of("asked", number=number))

    def seen(self, number: int) -> list[tuple[str, str]]:
        return [(line["target"], line["seen"]) for line in self.of("took_effect", number=number)]

    def between(self, number: int, until: int | None, settle_ms: int = 0) -> pl.DataFrame:
        """The requests planned after an event (and some time) and before another, or the end."""
        start = self.asked(number)["t_ns"] + settle_ms * 1_000_000
        end = self.asked(until)["t_ns"] if until else self.info["measure_end_ns"]
        return self.rows.filter(pl.col("planned_ns").is_between(start, end, closed="left"))

    def under(self, number: int, until: int | None) -> pl.DataFrame:
        """The requests that lived between an event's last effect and the next event, or the end."""
        start = max(line["t_ns"] for line in self.of("took_effect", number=number))
        end = self.asked(until)["t_ns"] if until else self.info["measure_end_ns"]
        return self.rows.filter(pl.col("sent_ns") > start, pl.col("done_ns") < end)


def play(
    start_lab: StartLab, folder: Path, arm: dict[str, Any], events: list[dict[str, Any]], **sections: Any
) -> Story:
    work = {"duration_s": 3.0, "rate_per_s": 200, "clients": 4, **sections.pop("workload", {})}
    path = experiment_file(folder, arms={"arm": arm}, events=events, workload=work, **sections)
    lab = start_lab("run", path)
    status, out, err = lab.end()
    assert status in (0, 3), out + err  # 3: a generator that lagged on a busy machine
    story = Story(lab, "arm")
    assert story.figures["ledgers"]["reconciled"], story.figures["ledgers"]
    for line in story.of("asked"):
        assert 0 <= line["t_ns"] - line["planned_ns"] < ASKED_LATE_NS, line
    return story


def test_a_killed_replica_is_gone_and_comes_back_to_its_address(start_lab: StartLab, tmp_path: Path) -> None:
    kill = {"at_s": 0.5, "do": "kill", "target": "replica-1", "for_s": 1.0}
    story = play(start_lab, tmp_path, PROXY, [kill], replicas=IN_HAND)
    under_way = story.rows.filter(pl.col("planned_ns") < story.asked(1)["t_ns"])
    assert "UNAVAILABLE" in set(under_way["code"]), "calls in hand are lost"
    assert story.asked(1)["targets"] == story.asked(2)["targets"] == ["replica-1"]
    assert (story.asked(2)["do"], story.asked(2)["undoes"]) == ("start", 1)
    assert story.seen(1)[0] == ("replica-1", "process ended")
    assert story.seen(1)[1][1].startswith("Envoy: unhealthy")
    assert story.seen(2) == [("replica-1", "process ready"), ("replica-1", "Envoy: healthy")]
    assert story.info["incomplete_ledgers"] == ["replica-1"]
    away = story.under(1, 2)
    assert away.height > 20
    assert "replica-1" not in set(away["replica"])
    back_ns = next(story.of("took_effect", number=2, seen="Envoy: healthy"))["t_ns"]
    back = story.rows.filter(pl.col("planned_ns") > back_ns)
    assert set(back["replica"]) == {"replica-0", "replica-1", "replica-2"}
    states = [line["state"] for line in story.of("endpoint", replica="replica-1")]
    assert states[0] == "healthy"
    assert "unhealthy" in states
    assert states[-1] == "healthy"


def test_a_graceful_stop_loses_no_call_behind_a_proxy(start_lab: StartLab, tmp_path: Path) -> None:
    # A call that reaches a server as it stops may get CANCELLED from gRPC.
    retries = {"by": "proxy", "attempts": 2, "on": ["UNAVAILABLE", "CANCELLED"]}
    story = play(
        start_lab,
        tmp_path,
        PROXY | {"retries": retries},
        [{"at_s": 1.0, "do": "stop", "target": "replica-0"}],
    )
    assert set(story.rows["code"]) == {"OK"}
    assert ("replica-0", "process ended") in story.seen(1)
    assert "replica-0" not in set(story.under(1, None)["replica"])


def test_a_paused_replica_keeps_its_calls_waiting(start_lab: StartLab, tmp_path: Path) -> None:
    arm = {"route": "direct", "policy": "round_robin"}
    story = play(
        start_lab, tmp_path, arm, [{"at_s": 0.5, "do": "pause", "target": "replica-2", "for_s": 0.8}]
    )
    assert set(story.rows["code"]) == {"OK"}
    frozen = story.between(1, 2).filter(pl.col("replica") == "replica-2")
    resumed_ns = story.asked(2)["t_ns"]
    assert frozen.height > 5
    assert frozen["done_ns"].min() >= resumed_ns  # type: ignore[operator]
    others = story.between(1, 2).filter(pl.col("replica") != "replica-2")
    assert (others["done_ns"] < resumed_ns).mean() > 0.9  # type: ignore[operator]


def test_a_replica_may_be_slow_from_when_it_joins(start_lab: StartLab, tmp_path: Path) -> None:
    slow = {"at_s": 0.5, "do": "slow", "target": "replica-3", "factor": 20.0}
    story = play(start_lab, tmp_path, PROXY, [{"at_s": 0.5, "do": "add"}, slow], replicas={"count": 3})
    assert ("replica-3", "process ready") in story.seen(1)
    assert story.seen(2) == [("replica-3", "settings in force")]
    joined = story.between(2, None, settle_ms=500).filter(pl.col("replica") == "replica-3")
    assert joined.height > 20


def test_slow_fail_and_heal_are_put_in_force(start_lab: StartLab, tmp_path: Path) -> None:
    events = [
        {"at_s": 0.3, "do": "slow", "target": "replica-0", "factor": 20.0, "for_s": 0.7},
        {"at_s": 1.3, "do": "fail", "target": "replica-1", "code": "RESOURCE_EXHAUSTED", "for_s": 0.7},
        {"at_s": 2.3, "do": "fail", "target": "all", "share": 0.5, "code": "ABORTED", "after_headers": True},
    ]
    story = play(start_lab, tmp_path, {"route": "direct", "policy": "round_robin"}, events)
    # A replica keeps its service times in the mean; a single one may be short by the error of the one before.
    service_ms = {
        number: story.under(number, number + 1).filter(pl.col("replica") == "replica-0")["service_ns"] / 1e6
        for number in (1, 2)
    }
    assert service_ms[1].mean() > 19.5  # type: ignore[operator]
    assert service_ms[2].median() < 10  # type: ignore[operator]
    failing = story.under(3, 4)
    codes = dict(failing.group_by("replica").agg(pl.col("code").unique()).iter_rows())
    assert codes["replica-1"] == ["RESOURCE_EXHAUSTED"]
    assert codes["replica-0"] == codes["replica-2"] == ["OK"]
    assert set(story.under(4, 5)["code"]) == {"OK"}
    last = story.under(5, None)
    assert 0.3 < (last["code"] == "ABORTED").mean() < 0.7  # type: ignore[operator]


@pytest.mark.calm  # half a second after the event, everybody must have heard of it
@pytest.mark.parametrize("arm", [PROXY, {"route": "direct", "policy": "round_robin", "health_check": True}])
def test_not_serving_is_heard_by_the_proxy_and_by_clients_that_listen(
    start_lab: StartLab, tmp_path: Path, arm: dict[str, Any]
) -> None:
    event = {"at_s": 0.5, "do": "not_serving", "target": "replica-0", "for_s": 1.2}
    story = play(start_lab, tmp_path, arm, [event])
    assert set(story.rows["code"]) == {"OK"}
    assert "replica-0" not in set(story.between(1, 2, settle_ms=500)["replica"])
    assert "replica-0" in set(story.between(2, None, settle_ms=500)["replica"])


def test_a_drain_moves_everybody_and_loses_nobody(start_lab: StartLab, tmp_path: Path) -> None:
    drain = {"at_s": 0.5, "do": "drain", "target": "most_loaded", "delay_s": 0.6}
    story = play(start_lab, tmp_path, PROXY | {"policy": "sticky"}, [drain])
    assert set(story.rows["code"]) == {"OK"}
    (name,) = story.asked(1)["targets"]
    before = story.rows.filter(pl.col("planned_ns") < story.asked(1)["t_ns"])
    busiest = before.group_by("replica").len().sort("len")["replica"][-1]
    assert name == busiest
    assert [seen for _, seen in story.seen(1)] == ["Envoy: draining", "Envoy: absent", "process ended"]
    assert [line["do"] for line in story.of("step")] == ["drain", "stop"]
    assert name not in set(story.under(1, None)["replica"])


def test_new_replicas_join_are_removed_and_return(start_lab: StartLab, tmp_path: Path) -> None:
    events = [
        {"at_s": 0.3, "do": "add", "count": 2},
        {"at_s": 1.5, "do": "remove", "target": "replica-4", "for_s": 0.5},
    ]
    story = play(start_lab, tmp_path, PROXY, events, workload={"duration_s": 4.0})
    assert story.asked(1)["targets"] == ["replica-3", "replica-4"]
    assert set(story.info["replicas"]) == {f"replica-{number}" for number in range(5)}
    assert story.info["initial_replicas"] == ["replica-0", "replica-1", "replica-2"]
    joined_ns = max(line["t_ns"] for line in story.of("took_effect", number=1))
    there = story.rows.filter(pl.col("planned_ns").is_between(joined_ns, story.asked(2)["t_ns"]))
    assert len(set(there["replica"])) == 5
    assert "replica-4" not in set(story.under(2, 3)["replica"])
    assert story.seen(3) == [("replica-4", "Envoy: healthy")]
    back_ns = next(story.of("took_effect", number=3))["t_ns"]
    assert "replica-4" in set(story.rows.filter(pl.col("planned_ns") > back_ns)["replica"])


@pytest.mark.parametrize(("age", "learns"), [({}, False), ({"max_connection_age_s": 0.5}, True)])
def test_clients_that_resolve_learn_of_new_replicas_when_a_connection_ends(
    start_lab: StartLab, tmp_path: Path, age: dict[str, float], learns: bool
) -> None:
    arm = {"route": "direct", "policy": "round_robin", "discovery": "dns", "dns_interval_ms": 50, **age}
    story = play(start_lab, tmp_path, arm, [{"at_s": 0.3, "do": "add"}])
    assert story.seen(1) == [("replica-3", "process ready")]
    assert ("replica-3" in set(story.between(1, None)["replica"])) is learns


def test_a_weight_is_put_in_force(start_lab: StartLab, tmp_path: Path) -> None:
    weight = {"at_s": 0.5, "do": "weight", "target": "replica-0", "weight": 8}
    story = play(start_lab, tmp_path, PROXY, [weight])
    assert story.seen(1) == [("replica-0", "Envoy: weight in force")]
    share = (story.under(1, None)["replica"] == "replica-0").mean()
    assert share == pytest.approx(0.8, abs=0.05)


def test_all_replicas_are_rolled_one_after_the_other(start_lab: StartLab, tmp_path: Path) -> None:
    roll = {"at_s": 0.3, "do": "roll", "target": "all", "delay_s": 0.1}
    story = play(start_lab, tmp_path, PROXY, [roll], workload={"duration_s": 6.0})
    steps = [(line["do"], line["target"]) for line in story.of("step")]
    every = [(do, f"replica-{number}") for number in range(3) for do in ("drain", "stop", "start")]
    assert steps == every
    assert story.seen(1)[-1] == ("replica-2", "Envoy: healthy")
    assert set(story.rows["code"]) == {"OK"}


@pytest.mark.parametrize("event", [{"do": "proxy_restart"}, {"do": "proxy_drain", "delay_s": 0.3}])
def test_the_proxy_comes_back_at_its_address(
    start_lab: StartLab, tmp_path: Path, event: dict[str, Any]
) -> None:
    arm = PROXY | {"wait_for_ready": True}
    story = play(start_lab, tmp_path, arm, [{"at_s": 0.5, **event}], workload={"duration_s": 4.0})
    assert story.seen(1) == [("envoy", "process ended"), ("envoy", "process ready")]
    assert "envoy" in story.info["incomplete_ledgers"]
    late = story.rows.filter(pl.col("planned_ns") > story.info["measure_end_ns"] - 500_000_000)
    assert set(late["code"]) == {"OK"}


def test_a_replica_that_cannot_start_again_fails_the_run(start_lab: StartLab, tmp_path: Path) -> None:
    kill = {"at_s": 0.3, "do": "kill", "target": "replica-0", "for_s": 1.2}
    path = experiment_file(tmp_path, arms={"arm": PROXY}, events=[kill], workload={"duration_s": 3.0})
    lab = start_lab("run", path)
    cell = lab.await_state("measure")
    ledger = cell / "replica-0.csv"
    while "process ended" not in (cell / "events.jsonl").read_text():
        assert lab.process.poll() is None, lab.end()
        time.sleep(0.01)
    ledger.unlink()
    ledger.mkdir()  # a folder is at the path of its ledger, so it cannot write there
    status, out, err = lab.end()
    assert status == 4, out + err
    assert "replica-0 exited (status 1)" in err
    assert "Traceback" not in err
    assert lab.manifest["status"] == "failed"
