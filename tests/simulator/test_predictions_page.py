"""The page of predicted and measured: coverage, surprises, what does not count; on simulated runs."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import tests.simulator.kernels  # noqa: F401
from bench import predictions
from bench.predictions import Scored, newest_runs, page, score
from harness.record.prediction import PREDICTION, Prediction
from harness.record.record_file import write_record
from harness.record.run_directory import Run
from harness.spec.experiment import load_experiment
from tests.simulator.test_simulated_runs import simulated

SHORT = {"workload.duration_s": 1.0, "workload.warm_up_s": 0.2, "repeats": 3}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two simulated runs that pass for measured ones."""
    folder = tmp_path_factory.mktemp("results")
    for name in ("sticky", "hash_keys"):
        simulated(load_experiment(name, SHORT), folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictions, "PREDICTED_TESTBEDS", ("simulated",))
        yield folder


@pytest.fixture(scope="module")
def scored(results: Path) -> list[Scored]:
    return score(newest_runs(results))


def test_what_is_measured_as_simulated_lies_in_its_band(scored: list[Scored]) -> None:
    counted = [one for run in scored for one in run.comparisons if not one.costs_missing]
    assert {one.arm for one in counted} >= {"sticky", "round_robin"}
    inside, measured = sum(one.inside for one in counted), sum(len(one.measured) for one in counted)
    assert measured > 50
    assert inside / measured > 0.85
    text = page(scored)
    assert f"{inside:,} of {measured:,} measurements ({inside / measured:.0%})" in text
    assert "latencies are not counted" in text
    assert "| sticky, sticky | " in text


def test_a_run_that_is_not_as_predicted_is_listed_as_a_surprise(scored: list[Scored]) -> None:
    (run,) = [run for run in scored if run.run.name == "sticky"]
    arms = run.prediction.arms
    swapped = {"sticky": arms["round_robin"], "round_robin": arms["sticky"]}
    wrong = replace(run, prediction=run.prediction.model_copy(update={"arms": swapped}))
    surprises = page([wrong]).partition("## Surprises")[2].partition("## Every arm")[0]
    assert "| sticky, sticky | `spread.max_over_mean` | 1" in surprises
    assert "Not explained." in surprises


@pytest.mark.parametrize(
    ("own", "afterwards"),
    [(Prediction(costs="this is a test"), False), (Prediction(skipped="it was not compiled"), True)],
)
def test_a_prediction_made_before_the_run_counts_and_a_skipped_one_is_made_now(
    results: Path, scored: list[Scored], own: Prediction, afterwards: bool
) -> None:
    assert all(run.afterwards for run in scored)
    run: Run = newest_runs(results)[0]
    write_record(run.path / PREDICTION, own)
    found = score([run])[0]
    (run.path / PREDICTION).unlink()
    assert found.afterwards is afterwards
    assert (found.prediction.costs == own.costs) is not afterwards
    assert ("predicted after they had been measured" in page([found])) is afterwards


def test_the_command_writes_the_page_or_says_what_is_missing(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "predictions.md"
    monkeypatch.setattr(sys, "argv", ["predictions", str(results), "--page", str(written)])
    predictions.main()
    assert written.read_text().startswith("# Predicted and measured\n")
    assert "lie inside of their 90% band" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["predictions", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        predictions.main()
    assert ended.value.code == 2
    assert "there is no completed run" in capsys.readouterr().err
