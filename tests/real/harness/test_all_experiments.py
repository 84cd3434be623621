"""The whole catalogue in its quick form: every experiment that comes with the lab does what its file says."""

import json
import signal
import time
from pathlib import Path

from lab_process import StartLab

from harness.spec import experiment_names, load_experiment

# What a machine that is busy with something else does to a cell; any other doubt is a fault of the lab.
MACHINE_DOUBTS = ("the generator lagged", "the generator sent")


def test_no_experiment_of_the_catalogue_is_refuted(start_lab: StartLab) -> None:
    lab = start_lab("run", "--all", "--quick")
    status, out, err = lab.end(timeout_s=900)
    assert status in (0, 3), f"{out}\n{err}"
    summaries = {name: _summary(lab.results / name) for name in experiment_names()}
    doubts = [doubt for summary in summaries.values() for doubt in summary["doubts"]]
    assert all(any(told in doubt for told in MACHINE_DOUBTS) for doubt in doubts), doubts
    assert (status == 0) == all(summary["verdict"] == "held" for summary in summaries.values())
    for name, summary in summaries.items():
        assert list(summary["arms"]) == list(load_experiment(name).variants)
        assert all(arm["ledgers"]["reconciled"] for arm in summary["arms"].values()), name
        assert f"/{len(summaries)} {name} " in out, "announced"
        assert f"│ {name} " in out, "has its line in the table"


def test_a_results_folder_that_cannot_be_written_ends_it_at_once(start_lab: StartLab, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / experiment_names()[0]).write_text("a file where a folder is needed")
    status, _, err = start_lab("run", "--all", "--quick").end()
    assert status == 2
    assert "cannot be written" in err


def _summary(runs: Path) -> dict[str, object]:
    return dict(json.loads((runs / "latest" / "summary.json").read_text()))


def test_ctrl_c_ends_it_with_the_table_of_what_was_done(start_lab: StartLab) -> None:
    first, second = experiment_names()[:2]
    lab = start_lab("run", "--all", "--quick")
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
