"""Too few open files are told before anything starts; as many as the formula says are enough."""

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lab_process import ROOT, experiment_file

from harness.plan.cells import plan_cells
from harness.plan.run_options import LoadOptions
from harness.run.open_files import open_files_needed
from harness.spec.experiment import load_experiment

QUICK = ("--no-prediction", "--no-plots", "--redo", 0)


def limited(folder: Path, soft: int, hard: int, *words: object) -> tuple[int, str, str]:
    """Run the lab with these limits; return exit status, output and errors."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_experiment.py"), *map(str, words)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
    )
    return done.returncode, done.stdout, done.stderr


def test_too_few_are_refused_before_anything_starts(tmp_path: Path) -> None:
    path = experiment_file(tmp_path)
    status, out, err = limited(tmp_path, 40, 40, "run", path, "--results", "results")
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("error: a process may have 40 open files here (ulimit -Hn), and Envoy needs ")
    assert err.endswith("take fewer clients (--clients) or replicas (--replicas)\n")
    assert not (tmp_path / "results").exists()


def test_up_refuses_too_few(tmp_path: Path) -> None:
    status, out, err = limited(tmp_path, 40, 40, "up", experiment_file(tmp_path))
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert "a process may have 40 open files here" in err


def test_a_low_soft_limit_is_raised(tmp_path: Path) -> None:
    path = experiment_file(tmp_path, replicas={"count": 20})
    status, out, err = limited(tmp_path, 30, 4096, "run", path, "--results", "results", "--quiet", *QUICK)
    assert (status, err) in ((0, ""), (3, "")), out  # 3: a busy machine


def test_a_worker_from_elsewhere_raises_its_own_limit(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s" * 40)
    worker = subprocess.Popen(
        [sys.executable, "-m", "load.worker", "127.0.0.1", "9", str(tmp_path / "secret")],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096)),  # noqa: PLW1509
    )
    assert worker.stderr is not None
    try:
        assert "works for the master at 127.0.0.1:9" in worker.stderr.readline()
        assert resource.prlimit(worker.pid, resource.RLIMIT_NOFILE) == (4096, 4096)
    finally:
        worker.terminate()
        worker.communicate()


ENVOY = {"route": "envoy", "policy": "round_robin"}
DIRECT = {"route": "direct", "policy": "round_robin"}
SLOW = [{"at_s": 0.2, "do": "slow", "target": "all", "factor": 2}, {"at_s": 0.3, "do": "add"}]
CASES: dict[str, dict[str, Any]] = {
    "through Envoy": {"arm": ENVOY, "clients": 40},
    "many replicas": {"arm": ENVOY, "clients": 2, "count": 20},
    "threads of Envoy": {"arm": ENVOY | {"proxy_workers": 4}, "clients": 20, "count": 10},
    "connections": {"arm": ENVOY | {"connections": 5}, "clients": 10},
    "layer 4": {"arm": {"route": "envoy-l4", "policy": "round_robin"}, "clients": 40},
    "direct": {"arm": DIRECT, "clients": 20},
    "direct to one": {"arm": {"route": "direct", "policy": "pick_first"}, "clients": 40},
    "control plane": {"arm": {"route": "xds", "policy": "round_robin"}, "clients": 20},
    "by DNS": {"arm": DIRECT | {"discovery": "dns"}, "clients": 10},
    "events": {"arm": ENVOY, "clients": 3, "count": 10, "events": SLOW},
    "load processes": {"arm": DIRECT, "clients": 30, "processes": 3},
}


@pytest.mark.parametrize("case", CASES)
def test_as_many_as_the_formula_says_are_enough(case: str, tmp_path: Path) -> None:
    given = {"count": 3, "events": [], "processes": 1} | CASES[case]
    path = experiment_file(
        tmp_path,
        arms={"arm": given["arm"]},
        workload={"clients": given["clients"]},
        replicas={"count": given["count"]},
        events=given["events"],
    )
    plan = plan_cells(load_experiment(str(path)))[0]
    load = LoadOptions(processes=given["processes"])
    enough = max(open_files_needed(plan, given["count"], load, "local").values())
    words = (
        "run",
        path,
        "--results",
        "results",
        "--quiet",
        *QUICK,
        "--processes",
        given["processes"],
    )
    assert limited(tmp_path, enough - 1, enough - 1, *words)[0] == 2
    status, out, err = limited(tmp_path, enough, enough, *words)
    assert (status, err) in ((0, ""), (3, "")), out
    summary = tmp_path / "results" / "small" / "latest" / "summary.json"
    arm = json.loads(summary.read_text())["arms"]["arm"]
    assert arm["requests"] > 0
    assert arm["errors"] == {}, arm["errors"]
