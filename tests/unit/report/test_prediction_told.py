"""What was predicted stands before the replay, without a word of what was measured."""

import shutil
from pathlib import Path

import pytest

from harness.analysis.summary import summarise
from harness.record.prediction import PREDICTION, ArmPrediction, Band, Prediction
from harness.record.record_file import write_record
from harness.record.run_directory import read_run
from harness.record.summary import Summary
from harness.report.page import render_report
from harness.report.prediction_table import prediction_section
from tests.unit.synthetic.synthetic_run import GOLDEN

pytestmark = pytest.mark.whole_run

TOLD = "latency_ms.p90"  # the finding of the golden run is about it


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "run"))


def predict(run: Path, summary: Summary, metric: str, *, calibrated: bool = True) -> None:
    band = Band(low=1.25, median=1.5, high=1.75)
    arm = ArmPrediction(
        not_modelled=[], simulations=39, calibrated=calibrated, overload=None, metrics={metric: band}
    )
    write_record(run / PREDICTION, Prediction(arms=dict.fromkeys(summary.arms, arm)))


def test_it_is_told_of_what_the_finding_is_about(run: Path) -> None:
    summary = summarise(read_run(run))
    predict(run, summary, TOLD)
    section = prediction_section(run, summary)
    assert section is not None
    assert section.told == [
        "The p90 latency: 1.25 ms to 1.75 ms with sticky, 1.25 ms to 1.75 ms with round_robin."
    ]
    html = render_report(read_run(run), summary, {})
    places = [
        html.index(words) for words in ("The set-up", section.told[0], "request by request", "What was found")
    ]
    assert places == sorted(places)
    before = html[html.index("What the lab predicted") : html.index("request by request")]
    measured = summary.arms["sticky"].metrics[TOLD]
    assert measured is not None
    assert f"{measured:.3g}" not in before


def test_a_latency_without_the_machines_costs_is_not_told(run: Path) -> None:
    summary = summarise(read_run(run))
    predict(run, summary, TOLD, calibrated=False)
    section = prediction_section(run, summary)
    assert section is not None
    assert section.told == []
    assert "What the lab predicted" not in render_report(read_run(run), summary, {})


def test_a_run_without_a_prediction_has_no_such_place(run: Path) -> None:
    html = render_report(read_run(run), summarise(read_run(run)), {})
    assert "What the lab predicted" not in html
    assert "Predicted and measured" not in html
