"""The process that predicts: which testbeds have one, and that its failure is a reason and no more."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.errors import LabError
from harness.paths import ROOT
from harness.record.manifest import Manifest
from harness.record.prediction import NOT_COMPILED, PREDICTION, Prediction, read_prediction
from harness.record.record_file import write_record
from harness.record.run_directory import RunWriter
from harness.record.seals import file_hash
from harness.run import prediction
from harness.run.prediction import Predictor, compile_when_idle
from harness.run.prediction_process import PredictionProcess, prediction_process
from harness.run.provenance import host
from harness.spec.experiment import experiment_yaml, load_experiment

SHORT = {"workload.warm_up_s": 0.0, "workload.duration_s": 0.2}  # little to simulate


def writer_of(folder: Path, testbed: str) -> RunWriter:
    manifest = Manifest(
        experiment="sticky", seed=1, versions={}, host=host(), git_commit=None, testbed=testbed, cells=[]
    )
    return RunWriter.create(folder, manifest, experiment_yaml(load_experiment("sticky", SHORT)))


@pytest.fixture(scope="module")
def process() -> Iterator[PredictionProcess]:
    with prediction_process(wanted=True) as started:
        assert started is not None
        yield started


@pytest.mark.parametrize("testbed", ["simulated", "external"])
def test_testbeds_without_parts_of_the_lab_are_not_predicted(
    testbed: str, tmp_path: Path, process: PredictionProcess
) -> None:
    writer = writer_of(tmp_path, testbed)
    with Predictor(writer, process) as predictor:
        predictor.finish()
    assert read_prediction(writer.path) is None


def test_a_run_that_is_not_to_be_predicted_has_no_prediction(tmp_path: Path) -> None:
    writer = writer_of(tmp_path, "local")
    with prediction_process(wanted=False) as none, Predictor(writer, none) as predictor:
        predictor.finish()
    assert read_prediction(writer.path) is None


def test_one_process_predicts_one_run_after_the_other(tmp_path: Path, process: PredictionProcess) -> None:
    """One of them fails, which is a reason in its record and no more."""
    process.predict(tmp_path)
    pid = process._process.pid
    assert str(process.answer(60.0)).startswith("UserError: ")
    for bad in (True, False):
        writer = writer_of(tmp_path, "local")
        if bad:
            (writer.path / "experiment.yaml").write_text("title: [")
        with Predictor(writer, process) as predictor:
            predictor.finish()
            predictor.finish()  # a search asks for it, too
        found = read_prediction(writer.path)
        assert found is not None
        failed = str(found.skipped).startswith("the prediction failed: ")
        assert failed is bad
        assert not bad or "experiment.yaml" in str(found.skipped)
        assert writer.manifest.prediction_seal == file_hash(writer.path / PREDICTION)
    assert process._process.pid == pid


def test_after_its_answer_the_process_waits_and_computes_nothing(
    tmp_path: Path, process: PredictionProcess
) -> None:
    process.predict(writer_of(tmp_path, "local").path)
    process.answer(60.0)
    found = psutil.Process(process._process.pid)
    while found.status() != psutil.STATUS_SLEEPING:
        time.sleep(0.001)
    before = found.cpu_times()
    time.sleep(0.1)
    assert found.cpu_times() == before
    assert found.num_threads() == 1


def test_a_prediction_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "PATIENCE_S", 0.0)
    writer = writer_of(tmp_path, "local")
    with prediction_process(wanted=True) as process, Predictor(writer, process) as predictor:
        assert process is not None
        predictor.finish()
        assert process._process.poll() is not None
    found = read_prediction(writer.path)
    assert found is not None and found.skipped == "the prediction failed: it took more than 0 s"


def test_a_process_that_has_died_is_a_reason_and_another_takes_its_place(tmp_path: Path) -> None:
    with prediction_process(wanted=True) as process:
        assert process is not None
        for kill_first in (True, False):
            if kill_first:
                process._process.kill()
                process._process.wait()
            process.predict(tmp_path)
            first = process._process
            first.kill()
            assert process.answer(60.0) == "status -9"
            assert first.poll() is not None
    assert process._process.poll() is not None


def test_an_answer_that_nobody_waits_for_is_not_that_of_the_next_run(tmp_path: Path) -> None:
    first, second = writer_of(tmp_path, "local"), writer_of(tmp_path, "local")
    with prediction_process(wanted=True) as process:
        assert process is not None
        with pytest.raises(LabError), Predictor(first, process):
            raise LabError("the testbed failed")
        with Predictor(second, process) as predictor:
            predictor.finish()
    assert read_prediction(second.path) is not None
    assert read_prediction(first.path) is None


def test_the_process_has_no_descriptor_of_the_run(tmp_path: Path) -> None:
    with (tmp_path / "of the run").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        with prediction_process(wanted=True) as process:
            assert process is not None
            process.predict(tmp_path)
            process.answer(60.0)  # while it imports, it opens and closes files
            folder = Path("/proc", str(process._process.pid), "fd")
            targets = {str(entry.readlink()) for entry in folder.iterdir()}
    assert targets
    assert not [target for target in targets if str(tmp_path) in target]


def test_the_process_ends_when_the_command_is_killed() -> None:
    code = (
        "from harness.run.prediction_process import PredictionProcess as P; import time\n"
        "print(P()._process.pid, flush=True); time.sleep(60)"
    )
    command = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert command.stdout is not None
    child = psutil.Process(int(command.stdout.readline()))
    command.kill()
    command.communicate()
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)


def test_a_run_without_machine_code_has_it_made_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program, told = tmp_path / "python", tmp_path / "told"
    program.write_text(f'#!/bin/sh\necho "$* at $(nice)" > {told}.new && mv {told}.new {told}\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    for at_a_terminal, skipped in (
        (True, None),
        (True, "the prediction failed: it took more than 10 s"),
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
