"""The process that predicts: which testbeds have one, and that its failure is a reason and no more."""

import sys
import time
from pathlib import Path

import pytest

from harness.record.manifest import Manifest
from harness.record.prediction import NOT_COMPILED, PREDICTION, Prediction, read_prediction
from harness.record.record_file import write_record
from harness.record.run_directory import RunWriter
from harness.record.seals import file_hash
from harness.run import prediction
from harness.run.prediction import Predictor, compile_when_idle
from harness.run.provenance import host
from harness.spec.experiment import experiment_yaml, load_experiment


def writer_of(folder: Path, testbed: str) -> RunWriter:
    manifest = Manifest(
        experiment="sticky", seed=1, versions={}, host=host(), git_commit=None, testbed=testbed, cells=[]
    )
    return RunWriter.create(folder, manifest, experiment_yaml(load_experiment("sticky")))


@pytest.mark.parametrize("testbed", ["simulated", "external"])
def test_testbeds_without_parts_of_the_lab_are_not_predicted(testbed: str, tmp_path: Path) -> None:
    writer = writer_of(tmp_path, testbed)
    with Predictor(writer) as predictor:
        predictor.finish()
    assert read_prediction(writer.path) is None


def test_a_prediction_that_fails_is_skipped_with_its_reason(tmp_path: Path) -> None:
    writer = writer_of(tmp_path, "local")
    (writer.path / "experiment.yaml").write_text("title: [")
    with Predictor(writer) as predictor:
        predictor.finish()
    found = read_prediction(writer.path)
    assert found is not None and found.skipped is not None
    assert found.skipped.startswith("the prediction failed: ")
    assert "experiment.yaml" in found.skipped
    assert writer.manifest.prediction_seal == file_hash(writer.path / PREDICTION)


def test_a_prediction_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "PATIENCE_S", 0.0)
    writer = writer_of(tmp_path, "local")
    with Predictor(writer) as predictor:
        process = predictor._process
        predictor.finish()
    assert process is not None and process.poll() is not None
    found = read_prediction(writer.path)
    assert found is not None and found.skipped == "the prediction took more than 0 s"


def test_a_run_without_machine_code_has_it_made_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program, told = tmp_path / "python", tmp_path / "told"
    program.write_text(f'#!/bin/sh\necho "$* at $(nice)" > {told}.new && mv {told}.new {told}\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    for at_a_terminal, skipped in (
        (True, None),
        (True, "the prediction took more than 10 s"),
        (False, NOT_COMPILED),
    ):
        monkeypatch.setattr(sys.stderr, "isatty", lambda answer=at_a_terminal: answer)
        write_record(tmp_path / PREDICTION, Prediction(skipped=skipped))
        compile_when_idle(tmp_path)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    write_record(tmp_path / PREDICTION, Prediction(skipped=NOT_COMPILED))
    compile_when_idle(tmp_path)
    assert capsys.readouterr().err == (
        "The simulator is compiled in the background, once: the next run is predicted.\n"
    )
    while not told.exists():
        time.sleep(0.01)
    assert told.read_text() == "-m simulator.compile_now at 19\n"
    prediction._IN_BACKGROUND.pop().wait()
