"""--testbed docker: same verdicts and files as with processes, events, and nothing left in the engine."""

import json
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from lab_process import Lab, experiment_file

from harness.leftovers.owner import owner
from harness.record.run_directory import read_run
from harness.record.usage import USAGE_FILE
from harness.testbed.docker.engine import OWNER, make_network, remove_all, remove_leftovers

pytestmark = pytest.mark.docker

DEAD_PID = 4194305  # above the largest process id of Linux
ATTEMPTS = 3
# The test checks that each event reaches the real container and is undone, so the times are short.
CHECKS = {"interval_ms": 200, "timeout_ms": 200, "unhealthy_after": 1, "healthy_after": 1}
EVENTS = [
    {"at_s": 0.3, "do": "kill", "target": "replica-0", "for_s": 0.7},
    {"at_s": 0.3, "do": "partition", "target": "replica-1", "for_s": 1.2},
    {"at_s": 0.3, "do": "limit_cpu", "target": "replica-2", "cores": 0.01, "for_s": 1.2},
    {"at_s": 0.4, "do": "pause", "target": "replica-3", "for_s": 0.4},
    {"at_s": 2.4, "do": "slow", "target": "replica-3", "factor": 3},
]


def _run(folder: Path, *arguments: object) -> Lab:
    return Lab(folder, ("run", *arguments, "--testbed", "docker"))


def _summary(lab: Lab) -> dict[str, Any]:
    return dict(json.loads((lab.run / "summary.json").read_text()))


def _left(engine: docker.DockerClient, label: str = OWNER) -> list[str]:
    found = [
        *engine.containers.list(all=True, filters={"label": label}, ignore_removed=True),
        *engine.networks.list(filters={"label": label}),
        *engine.volumes.list(filters={"label": label}),
    ]
    return [str(thing.name) for thing in found]


@pytest.fixture(autouse=True)
def _nothing_is_left(engine: docker.DockerClient) -> Iterator[None]:
    yield
    assert _left(engine) == []


def test_verdicts_and_files_are_those_of_the_local_testbed(
    engine: docker.DockerClient, tmp_path: Path
) -> None:
    in_containers = _valid_run(tmp_path / "docker", "docker", "--processes", "2")
    local = _valid_run(tmp_path / "local", "local")
    summaries = docker_summary, local_summary = _summary(in_containers), _summary(local)
    assert docker_summary["verdict"] == local_summary["verdict"] == "held"
    texts = [[(one["text"], one["verdict"]) for one in summary["expectations"]] for summary in summaries]
    assert texts[0] == texts[1]
    for name, arm in docker_summary["arms"].items():
        assert arm["ledgers"]["reconciled"]
        assert arm["requests"] == local_summary["arms"][name]["requests"], "the plan is the same"
    files = [
        {str(path.relative_to(lab.run)) for path in lab.run.rglob("*") if path.is_file()}
        for lab in (in_containers, local)
    ]
    # Cells that were measured again are kept, too.
    files = [{name for name in names if not name.startswith("disturbed/")} for names in files]
    assert not files[1] - files[0] - {"logs/forkserver.log"}, "all files of the local testbed, and more"
    _assert_usage_and_unprivileged(in_containers)


def _valid_run(folder: Path, testbed: str, *options: str) -> Lab:
    """Run `sticky` with --quick until its verdict is valid: a busy machine may need several runs."""
    for attempt in range(ATTEMPTS):
        attempt_folder = folder / str(attempt)
        attempt_folder.mkdir(parents=True)
        lab = Lab(attempt_folder, ("run", "sticky", "--quick", "--seed", 5, "--testbed", testbed, *options))
        status, out, err = lab.end(120)
        assert status in (0, 3), f"{out}\n{err}"
        if status == 0:
            return lab
        assert all("the generator" in reason for reason in _summary(lab)["invalid_reasons"])
    raise AssertionError(f"{testbed}: the machine was too busy {ATTEMPTS} times")


def _assert_usage_and_unprivileged(lab: Lab) -> None:
    """Check that each container has rows of CPU and memory, and that files do not belong to root."""
    components = {"load", "envoy", *(f"replica-{number}" for number in range(4))}
    for cell in read_run(lab.run).cells:
        rows = (cell.folder / USAGE_FILE).read_text().splitlines()
        assert {row.split(",")[1] for row in rows[1:]} == components
        assert (cell.folder / "load-status.json").stat().st_uid != 0


def _events(folder: Path, arm: str) -> list[dict[str, Any]]:
    (path,) = folder.glob(f"results/*/2*/cells/{arm}.1/events.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_events_reach_the_containers_and_are_undone(engine: docker.DockerClient, tmp_path: Path) -> None:
    path = experiment_file(
        tmp_path,
        replicas={"count": 4},
        workload={"clients": 4, "rate_per_s": 200, "duration_s": 4.0, "deadline_ms": 400},
        events=EVENTS,
        arms={
            "round_robin": {"route": "envoy", "policy": "round_robin", "proxy_health_check": CHECKS},
            "by_name": {
                **{"route": "direct", "policy": "round_robin", "discovery": "dns"},
                "reconnect_backoff_ms": 200,
            },
        },
    )
    lab = _run(tmp_path, path)
    status, out, err = lab.end(120)
    assert status in (0, 3), f"{out}\n{err}"
    for arm in ("round_robin", "by_name"):
        events = _events(tmp_path, arm)
        asked = {event["number"] for event in events if event["event"] == "asked"}
        effect = {event["number"] for event in events if event["event"] == "took_effect"}
        assert asked == effect == set(range(1, 10))
        assert _summary(lab)["arms"][arm]["ledgers"]["reconciled"]
        rows = lab.rows(arm)
        assert set(rows["replica"].unique()) >= {f"replica-{number}" for number in range(4)}
        # A partition drops packets silently, so calls end by their deadline, not by a reset.
        assert "DEADLINE_EXCEEDED" in set(rows["code"].unique())
        late = rows.filter(rows["planned_ns"] > rows["planned_ns"].max() - 700_000_000)
        assert set(late.filter(late["code"] == "OK")["replica"].unique()) >= {"replica-0", "replica-1"}
    target = json.loads((lab.cell("by_name") / "load-order.json").read_text())["settings"]["target"]
    assert target == "dns:///replicas.lab:50051", "Docker's name server"
    logs = (lab.cell("round_robin") / "logs" / "replica-0.log").read_text()
    assert logs.count("replica-0 serves on") == 2, "the replica started twice"


def test_a_killed_or_interrupted_run_leaves_nothing_and_does_not_disturb_another(
    engine: docker.DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = Path(tempfile.mkdtemp())  # not tmp_path: the path of a socket must be short
    monkeypatch.setenv("TMPDIR", str(scratch))
    labs = {}
    for name in ("killed", "interrupted", "undisturbed"):
        folder = tmp_path / name
        folder.mkdir()
        long = {"duration_s": 1.0 if name == "undisturbed" else 30.0}
        labs[name] = _run(folder, experiment_file(folder, workload=long))
    for name in ("killed", "interrupted"):
        labs[name].await_state("measure")
    labs["killed"].process.kill()
    labs["interrupted"].process.send_signal(signal.SIGINT)
    assert labs["interrupted"].end()[0] == 130
    status, out, err = labs["undisturbed"].end(90)
    assert status in (0, 3), f"{out}\n{err}"
    assert all(arm["ledgers"]["reconciled"] for arm in _summary(labs["undisturbed"])["arms"].values())
    labs["killed"].end()
    assert labs["interrupted"].manifest["status"] == "interrupted"
    assert labs["killed"].manifest["status"] == "interrupted"
    deadline_s = time.monotonic() + 20
    while (_left(engine) or list(scratch.iterdir())) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    scratch.rmdir()  # nothing is left in it


def test_the_error_names_a_container_that_dies(engine: docker.DockerClient, tmp_path: Path) -> None:
    lab = _run(tmp_path, experiment_file(tmp_path, workload={"duration_s": 30.0}))
    cell = lab.await_state("measure")
    labels = [OWNER, "com.docker.compose.service=replica-1"]
    (container,) = engine.containers.list(filters={"label": labels})
    container.kill()
    status, _, err = lab.end()
    assert status == 4
    assert f"replica-1 was killed by SIGKILL (status -9); see {cell}/logs/replica-1.log" in err
    assert "serves on" in (cell / "logs" / "replica-1.log").read_text()
    assert lab.manifest["status"] == "failed"
    assert len(lab.rows(json.loads((cell / "cell.json").read_text())["arm"])) > 0


def test_only_the_leftovers_of_dead_runs_are_removed(engine: docker.DockerClient, image: str) -> None:
    namespace = owner().split(".")[0]
    dead = f"{namespace}.{DEAD_PID}.1"
    for label in (dead, owner()):
        engine.containers.create(image, "true", labels={OWNER: label})
        network = engine.networks.create(f"lb-lab-test-{label}", labels={OWNER: label})
        assert network.name is not None
    remove_leftovers(engine)
    assert _left(engine, f"{OWNER}={dead}") == []
    assert len(_left(engine, f"{OWNER}={owner()}")) == 2
    remove_all(engine, owner())


def test_networks_of_two_runs_do_not_overlap(engine: docker.DockerClient) -> None:
    networks = [make_network(engine, f"lb-lab-test-{number}") for number in range(3)]
    try:
        subnets = [network.subnet for network in networks]
        assert not any(
            one.overlaps(other) for place, one in enumerate(subnets) for other in subnets[place + 1 :]
        )
    finally:
        remove_all(engine, owner())
