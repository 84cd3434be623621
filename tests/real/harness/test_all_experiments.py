"""The experiments of the lab, with --quick, give the results that their files expect."""

import itertools
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from lab_process import Lab, StartLab

from harness.spec.experiment import catalogue, load_experiment
from harness.spec.heads import experiment_names
from harness.testbed.choice import incompatibility

# Reasons that a busy machine causes. Any other reason is a fault of the lab.
OF_THE_MACHINE = ("the generator lagged", "the generator sent")


# All experiments take a quarter of an hour, even with --quick. These cover every route, hashing, streams and
# a paused replica. The test of the whole catalogue runs the others.
ALWAYS = ("sticky", "l4_vs_l7", "hash_keys", "streams", "frozen_replica")
OTHER_SEEDS = (101, 102)
RUN_S, CATALOGUE_S = 120, 1800  # at most


@pytest.mark.timeout(3 * RUN_S + 60)
@pytest.mark.calm
@pytest.mark.parametrize("name", ALWAYS)
def test_an_experiment_is_not_refuted(start_lab: StartLab, name: str) -> None:
    """A true expectation fails in one run of 20, so a refutation counts only if another seed confirms it."""
    verdict = _verdict(start_lab("run", name, "--quick", "--plots"), name)
    if verdict == "refuted":
        others = [_verdict(start_lab("run", name, "--quick", "--seed", seed), name) for seed in OTHER_SEEDS]
        assert "refuted" not in others


def _verdict(lab: Lab, name: str) -> str:
    """Return the verdict of a complete run. Its only doubts may be those of a busy machine."""
    status, out, err = lab.end(timeout_s=RUN_S)
    assert status in (0, 1, 3), f"{out}\n{err}"
    summary = _summary(lab.results / name)
    reasons = summary["invalid_reasons"]
    assert all(any(told in reason for told in OF_THE_MACHINE) for reason in reasons), reasons
    assert (status == 0) == (summary["verdict"] in ("held", "measured"))
    assert list(summary["arms"]) == list(load_experiment(name).variants)
    assert all(arm["ledgers"]["reconciled"] for arm in summary["arms"].values())
    return str(summary["verdict"])


@pytest.mark.timeout(CATALOGUE_S + 60)
@pytest.mark.alone
@pytest.mark.skipif("LB_LAB_CATALOGUE" not in os.environ, reason="a quarter of an hour: set LB_LAB_CATALOGUE")
def test_the_whole_catalogue(start_lab: StartLab) -> None:
    lab = start_lab("run", "--all", "--quick", "--plots")
    status, out, err = lab.end(timeout_s=CATALOGUE_S)
    assert status in (0, 1, 3), f"{out}\n{err}"
    for name in experiment_names():
        assert f" {name} " in out, "the run announces it"
        assert f"│ {name} " in out, "the table has its row"
    ran = [name for name in experiment_names() if incompatibility(load_experiment(name), "local") is None]
    assert sorted(path.name for path in lab.results.iterdir()) == sorted(ran)
    refuted = [name for name in ran if _summary(lab.results / name)["verdict"] == "refuted"]
    assert len(refuted) <= len(ran) / 10, refuted
    in_order = [one.name for one in catalogue() if one.name in ran]
    for before, name in itertools.pairwise(in_order):
        loads = (lab.results / name / "latest").glob("cells/*/load-order.json")
        report = lab.results / before / "latest" / "report.html"
        first_ns = min(load.stat().st_mtime_ns for load in loads)
        assert report.stat().st_mtime_ns <= first_ns, f"{before} is drawn beside the load of {name}"


def test_an_unwritable_results_folder_ends_run_all_at_once(start_lab: StartLab, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / catalogue()[0].name).write_text("a file where a folder is needed")
    status, _, err = start_lab("run", "--all", "--quick").end()
    assert status == 2
    assert "cannot be written" in err


def _summary(runs: Path) -> dict[str, Any]:
    return dict(json.loads((runs / "latest" / "summary.json").read_text()))


def test_ctrl_c_ends_run_all_with_the_table_of_finished_experiments(start_lab: StartLab) -> None:
    first, second = (one.name for one in catalogue()[:2])
    lab = start_lab("run", "--all", "--quick", "--plots")
    while not list((lab.results / second).glob("*/cells/*")):
        assert lab.process.poll() is None, lab.end()
        time.sleep(0.05)
    lab.process.send_signal(signal.SIGINT)
    status, out, _ = lab.end()
    assert status == 130
    assert f"│ {first} " in out
    assert f"│ {second} " not in out
    (stopped,) = (run for run in (lab.results / second).iterdir() if not run.is_symlink())
    assert json.loads((stopped / "manifest.json").read_text())["status"] == "interrupted"
    assert (lab.results / first / "latest" / "report.html").exists()
