"""The report's section about the prediction."""

import shutil
from pathlib import Path

import pytest

from harness.analysis.summary import facts_of, summarise
from harness.record.prediction import PREDICTION, ArmPrediction, Band, Prediction
from harness.record.record_file import write_record
from harness.record.run_directory import read_run
from harness.report.page import render_report
from tests.unit.synthetic.synthetic_run import GOLDEN

pytestmark = pytest.mark.whole_run


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "run"))


def page_of(run_dir: Path) -> str:
    run = read_run(run_dir)
    return render_report(run, summarise(run, facts_of(run)), {})


def test_a_run_without_a_prediction_has_no_section(run_dir: Path) -> None:
    assert "Predicted and measured" not in page_of(run_dir)


def test_prediction_and_measurement_stand_side_by_side(run_dir: Path) -> None:
    bands = {"spread.max_over_mean": Band(low=50.0, median=60.0, high=70.0)}
    predicted = ArmPrediction(not_modelled=[], simulations=39, calibrated=False, overload=0.0, metrics=bands)
    left_out = ArmPrediction(
        not_modelled=["streams"], simulations=0, calibrated=False, overload=None, metrics={}
    )
    first, second = list(read_run(run_dir).experiment.variants)[:2]
    prediction = Prediction(costs="no costs are known", arms={first: predicted, second: left_out})
    write_record(run_dir / PREDICTION, prediction)
    section = page_of(run_dir).partition("Predicted and measured")[2].partition("</details>")[0]
    assert "<strong>Surprise:</strong>" in section
    assert "60 (50-70)" in section
    assert "<td>surprise</td>" in section
    assert f'<th scope="row">{first}, <abbr title="spread.max_over_mean">' in section
    assert f"{second} was not predicted; the simulator does not have: streams." in section
    assert "No costs are known." in section
    # A header without text has no name for people who hear the page.
    assert '<th scope="col"></th>' not in section


def test_what_was_not_predicted_has_its_reason(run_dir: Path) -> None:
    write_record(run_dir / PREDICTION, Prediction(skipped="it would take too long"))
    assert "Nothing was predicted: it would take too long." in page_of(run_dir)
