"""Prediction beside measurement: what counts as a surprise, and what does not."""

import math
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.summary import facts_of, summarise
from harness.analysis.surprises import Comparison, comparisons
from harness.record.prediction import PREDICTION, ArmPrediction, Band, Prediction, read_prediction
from harness.record.record_file import write_record
from harness.record.run_directory import read_run
from harness.record.summary import Summary
from harness.report.prediction_table import prediction_section
from tests.unit.synthetic.synthetic_run import GOLDEN

ANY = Band(low=0.0, median=1.0, high=1e9)


@pytest.fixture(scope="module")
def summary() -> Summary:
    run = read_run(GOLDEN)
    return summarise(run, facts_of(run))


def predicted(band: Band, metric: str, summary: Summary, **own: Any) -> Prediction:
    fields: dict[str, Any] = {"not_modelled": [], "simulations": 39, "calibrated": True} | own
    arm = ArmPrediction(metrics={metric: band}, **fields)
    return Prediction(arms=dict.fromkeys(summary.arms, arm))


def found(prediction: Prediction, summary: Summary) -> Comparison:
    return next(iter(comparisons(prediction, summary)))


def test_a_measurement_outside_of_its_band_is_a_surprise(summary: Summary) -> None:
    metric = "spread.max_over_mean"
    one = found(predicted(ANY, metric, summary), summary)
    value = one.measured_median
    assert not one.is_surprise
    assert one.inside == len(one.measured) > 0
    above = Band(low=value * 1.01, median=value * 1.1, high=value * 1.2)
    one = found(predicted(above, metric, summary), summary)
    assert one.is_surprise
    assert one.reason == "Not explained."
    # The digits of a file are no surprise.
    close = Band(low=value * (1 + 1e-9), median=value * 1.1, high=value * 1.2)
    assert not found(predicted(close, metric, summary), summary).is_surprise


def test_infinity_is_above_every_figure_and_in_a_band_that_ends_there(summary: Summary) -> None:
    one = found(predicted(ANY, "latency_ms.p50", summary), summary)
    assert math.isfinite(one.measured_median)
    endless = Band(low=0.0, median=None, high=None)
    assert not found(predicted(endless, "latency_ms.p50", summary), summary).is_surprise
    never = Band(low=None, median=None, high=None)
    assert found(predicted(never, "latency_ms.p50", summary), summary).is_surprise


def test_a_latency_without_known_costs_is_no_surprise(summary: Summary) -> None:
    short = Band(low=0.0, median=0.001, high=0.002)
    one = found(predicted(short, "latency_ms.p50", summary, calibrated=False), summary)
    assert (one.is_surprise, one.costs_missing, one.inside) == (False, True, 0)


def test_the_report_names_surprises_and_reasons(summary: Summary, tmp_path: Path) -> None:
    assert prediction_section(tmp_path, summary) is None
    write_record(tmp_path / PREDICTION, Prediction(skipped="too large"))
    section = prediction_section(tmp_path, summary)
    assert section is not None and section.table is None
    assert section.notes == ["Nothing was predicted: too large."]
    above = Band(low=50.0, median=60.0, high=70.0)
    write_record(tmp_path / PREDICTION, predicted(above, "spread.max_over_mean", summary))
    section = prediction_section(tmp_path, summary)
    assert section is not None and section.table is not None
    assert [row[-1] for row in section.table.rows] == ["surprise"] * len(summary.arms)
    assert all("predicted 50 to 70. Not explained." in line for line in section.surprises)


def test_a_prediction_is_read_as_it_was_written(tmp_path: Path) -> None:
    band = Band(low=1.0, median=2.0, high=math.inf)
    arm = ArmPrediction(not_modelled=[], simulations=19, calibrated=False, metrics={"x": band})
    write_record(tmp_path / PREDICTION, Prediction(arms={"a": arm}))
    read = read_prediction(tmp_path)
    assert read is not None
    assert read.arms["a"].metrics["x"] == Band(low=1.0, median=2.0, high=None)
