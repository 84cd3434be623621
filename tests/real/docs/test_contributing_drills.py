"""CONTRIBUTING.md is true: its drills are carried out on a copy of the repository, with real parts.

The page's code blocks say where they go, in a comment above: `<!-- drill: FILE, below `LINE` -->`, `above` or
`new file FILE`. Nothing but these blocks, one experiment file and `make schema` may be needed.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.paths import ROOT

BLOCK = re.compile(r"<!-- drill: (.+?) -->\n```\w+\n(.*?)```\n", re.DOTALL)
PLACE = re.compile(r"(?P<file>\S+), (?P<where>above|below) `(?P<line>.+)`")

EXPERIMENT = """\
# yaml-language-server: $schema=schema.json
title: What the drills add
question: Do a new policy, event, metric and plot work together?
lesson: |
  Look first at the new plot: it has a line for each arm. Then read the new metric.
  A policy that draws at random sends more requests to the busiest replica than to the least busy one. Round
  robin keeps the two within one request of each other, until a replica crashes.

  On an AWS Application Load Balancer the algorithm weighted_random is the nearest thing to the new policy.
teaching:
  chapter: turns
  after: round_robin
  heading: All that is new
  read: |
    Read the new plot.
  exercise: |
    `--rate 100`. What changes?
replicas: {count: 3, slots: 8, service_time_ms: {distribution: constant, mean: 1}}
workload: {clients: 3, rate_per_s: 150, calls: {AddVideo: 1}, warm_up_s: 0.2, duration_s: 2}
arms:
  again: {route: envoy, policy: random_again}
  control: {route: envoy, policy: round_robin}
events:
  - {at_s: 0.3, do: crash_and_start, target: replica-1}
repeats: 1
expect:
  - {arm: again, metric: spread.range_requests, at_least: 1}
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the repository in which all drills have been carried out."""
    folder = tmp_path_factory.mktemp("drills") / "lab"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    blocks = BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text())
    assert len(blocks) >= 8
    for place, code in blocks:
        insert(folder, place, code)
    (folder / "experiments" / "drilled.yaml").write_text(EXPERIMENT)
    binaries = Path(sys.executable).parent
    made = run(folder, "make", "-o", "setup", "schema", f"BIN={binaries}")
    assert made.returncode == 0, made.stdout + made.stderr
    return folder


def insert(folder: Path, place: str, code: str) -> None:
    """Put one code block of the page where its comment says."""
    if place.startswith("new file "):
        path = folder / place.removeprefix("new file ")
        assert not path.exists()
        path.write_text(code)
        return
    found = PLACE.fullmatch(place)
    assert found, f"CONTRIBUTING.md: {place}"
    path, line = folder / found["file"], f"{found['line']}\n"
    text = path.read_text()
    assert text.count(line) == 1, f"CONTRIBUTING.md: {found['file']} has not one line {line!r}"
    new = code + line if found["where"] == "above" else line + code
    path.write_text(text.replace(line, new))


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(folder)}
    environment.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_everything_that_is_generated_names_what_is_new(copy: Path) -> None:
    assert "| `drilled` | Do a new policy" in (copy / "README.md").read_text()
    assert "All that is new: `drilled`" in (copy / "docs" / "lessons.md").read_text()
    assert "random_again" in (copy / "docs" / "policies.md").read_text()
    assert "crash_and_start" in (copy / "docs" / "events.md").read_text()
    assert "spread.range_requests" in (copy / "results" / "README.md").read_text()
    schema = (copy / "experiments" / "schema.json").read_text()
    assert all(name in schema for name in ("random_again", "crash_and_start", "spread.range_requests"))


@pytest.mark.parametrize("checker", [("ruff", "check", "."), ("ruff", "format", "--check", ".")])
def test_the_linters_accept_what_is_new(copy: Path, checker: tuple[str, ...]) -> None:
    done = run(copy, str(Path(sys.executable).parent / checker[0]), *checker[1:])
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_tests_that_go_over_all_entries_accept_what_is_new(copy: Path) -> None:
    done = run(
        copy, sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k",
        "crash_and_start or random_again or drilled or current or readme or lessons or order",
        "tests/unit/docs", "tests/unit/events", "tests/unit/spec", "tests/unit/record",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


def test_an_experiment_with_all_of_it_runs_on_real_parts(copy: Path) -> None:
    words = ("drilled", "--results", "own", "--quiet", "--no-prediction")
    done = run(copy, sys.executable, "run_experiment.py", *words)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    latest = copy / "own" / "drilled" / "latest"
    arm = json.loads((latest / "summary.json").read_text())["arms"]["again"]
    assert arm["spread"]["range_requests"] is not None
    assert [event["do"] for event in arm["events"]] == ["crash_and_start"]
    assert (latest / "plots" / "requests_per_repeat.svg").exists()
    assert (latest / "report.html").exists()
