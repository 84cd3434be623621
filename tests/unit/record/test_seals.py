"""Seals: hashes of the files of finished cells; `report` says which one is broken, and gives no verdict."""

import json
import shutil

import pytest

from harness.analysis.summary import summarise
from harness.record.prediction import PREDICTION, Prediction
from harness.record.record_file import write_record
from harness.record.run_directory import RunWriter, read_run
from harness.record.seals import broken_seals, file_hash, seal_of_cell
from harness.report.page import build_report
from tests.unit.synthetic.edited_run import edit
from tests.unit.synthetic.synthetic_run import GOLDEN

pytestmark = pytest.mark.whole_run

CELL = "sticky.1"


@pytest.fixture
def run(tmp_path):
    return shutil.copytree(GOLDEN, tmp_path / "run")


def broken(run):
    return broken_seals(run, read_run(run).manifest)


def test_a_run_as_it_was_has_whole_seals(run):
    manifest = json.loads((run / "manifest.json").read_text())
    assert broken(run) == {}
    for planned in manifest["cells"]:
        folder = run / "cells" / f"{planned['arm']}.{planned['repeat']}"
        assert planned["seals"] == seal_of_cell(folder)
        assert {"cell.json", "requests.parquet", "replicas.parquet", "proxy.parquet"} <= set(planned["seals"])
    assert manifest["experiment_seal"] == file_hash(run / "experiment.yaml")


def test_a_prediction_has_a_seal(run):
    manifest = read_run(run).manifest
    writer = RunWriter(run, manifest)
    write_record(run / PREDICTION, Prediction(skipped="it is a test"))
    assert broken(run) == {}  # a prediction of a run without that seal
    writer.seal_prediction()
    assert broken(run) == {}
    write_record(run / PREDICTION, Prediction(skipped="it was no test"))
    assert broken(run) == {"": ("the seal of prediction.json is broken: the file was changed after the run",)}
    (run / PREDICTION).unlink()
    assert broken(run) == {"": ("the seal of prediction.json is broken: the file is missing",)}
    assert summarise(read_run(run)).verdict == "inconclusive"


def test_the_hash_is_sha_256(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    # FIPS 180-4's example
    assert file_hash(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_files_in_folders_are_sealed(tmp_path):
    (tmp_path / "envoy").mkdir()
    (tmp_path / "envoy" / "envoy.yaml").write_text("")
    assert list(seal_of_cell(tmp_path)) == ["envoy/envoy.yaml"]


BREAKS = {
    "changed": (
        lambda folder: (folder / "cell.json").write_text((folder / "cell.json").read_text() + " "),
        f"the seal of cells/{CELL}/cell.json is broken: the file was changed after the run",
    ),
    "removed": (
        lambda folder: (folder / "messages.parquet").unlink(),
        f"the seal of cells/{CELL}/messages.parquet is broken: the file is missing",
    ),
    "added": (
        lambda folder: (folder / "events.jsonl").write_text(""),
        f"cells/{CELL}/events.jsonl has no seal: the run did not write it",
    ),
}


@pytest.mark.parametrize("how", BREAKS)
def test_a_file_that_is_not_as_it_was_breaks_the_cells_seal(run, how):
    harm, sentence = BREAKS[how]
    harm(run / "cells" / CELL)
    assert broken(run) == {CELL: (sentence,)}


def test_an_edited_experiment_breaks_the_seal_of_the_run(run):
    path = run / "experiment.yaml"
    path.write_text(path.read_text().replace("at_least: 1.4", "at_least: 1.3"))
    assert broken(run) == {"": ("the seal of experiment.yaml is broken: the file was changed after the run",)}


def test_a_completed_run_must_have_all_its_seals(run):
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["cells"][0]["seals"] = {}
    edit(run / "manifest.json", cells=manifest["cells"], experiment_seal=None)
    assert broken(run) == {
        "": ("experiment.yaml has no seal in manifest.json",),
        CELL: (f"cells/{CELL} has no seal in manifest.json",),
    }
    edit(run / "manifest.json", status="interrupted")
    assert broken(run) == {}


def test_notes_and_other_files_of_users_break_nothing(run):
    (run / "cells" / CELL / "my notes.txt").write_text("a good run")
    (run / "notes.md").write_text("")
    assert broken(run) == {}


def test_report_names_the_broken_seal_and_gives_no_verdict(run):
    assert summarise(read_run(run)).invalid_reasons == []
    path = run / "experiment.yaml"
    path.write_text(path.read_text().replace("at_least: 1.4", "at_least: 1.3"))
    page, summary = build_report(run, plots=False)
    words = "the seal of experiment.yaml is broken"
    assert summary.verdict == "inconclusive"
    assert all(finding.verdict == "inconclusive" for finding in summary.expectations)
    assert words in page.read_text()


def test_one_broken_cell_is_not_usable_and_the_others_are(run):
    path = run / "cells" / CELL / "cell.json"
    path.write_text(path.read_text() + "\n")
    summary = summarise(read_run(run))
    reasons = {reason.partition(":")[0] for reason in summary.invalid_reasons}
    assert reasons == {"sticky, repeat 1"}
    assert summary.arms["sticky"].repeats[1].invalid_reasons == []


def test_making_the_report_again_breaks_no_seal(run):
    build_report(run, plots=False)
    build_report(run)
    assert broken(run) == {}
    assert sorted(path.name for path in (run / "joined").iterdir()) == sorted(
        f"{path.name}.parquet" for path in (run / "cells").iterdir()
    )
