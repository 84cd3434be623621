"""Prediction beside measurement: what counts as a surprise, and what does not."""

import math
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.summary import facts_of, summarise
from harness.analysis.surprises import Comparison, comparisons
from harness.output.safe_console import SafeConsole
from harness.record.prediction import PREDICTION, ArmPrediction, Band, Prediction, read_prediction
from harness.record.record_file import write_record
from harness.record.run_directory import read_run
from harness.record.summary import CellMachine, DisturbedCell, Summary
from harness.report.prediction_table import prediction_section, print_prediction
from tests.unit.synthetic.synthetic_run import GOLDEN

ANY = Band(low=0.0, median=1.0, high=1e9)


@pytest.fixture(scope="module")
def summary() -> Summary:
    run = read_run(GOLDEN)
    return summarise(run, facts_of(run))


def predicted(band: Band, metric: str, summary: Summary, **own: Any) -> Prediction:
    fields: dict[str, Any] = {
        "not_modelled": [],
        "simulations": 39,
        "calibrated": True,
        "overload": None,
    } | own
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


def test_a_time_within_a_millisecond_of_its_band_is_no_surprise(summary: Summary) -> None:
    value = found(predicted(ANY, "latency_ms.p50", summary), summary).measured_median
    for off_ms, is_surprise in ((0.9, False), (1.1, True)):
        band = Band(low=value + off_ms, median=value + 2, high=value + 3)
        assert found(predicted(band, "latency_ms.p50", summary), summary).is_surprise is is_surprise


def test_what_the_machine_or_the_lab_did_is_the_reason(summary: Summary) -> None:
    summary = summary.model_copy(deep=True)
    value = found(predicted(ANY, "latency_ms.p50", summary), summary).measured_median
    prediction = predicted(Band(low=0.0, median=value / 4, high=value / 2), "latency_ms.p50", summary)
    assert found(prediction, summary).reason == "Not explained."
    summary.machine = [
        CellMachine.model_construct(arm=arm, repeat=1, others_share=0.4) for arm in summary.arms
    ]
    assert found(prediction, summary).reason == "Other programs took 40% of the CPU meanwhile."
    for arm in summary.arms.values():
        arm.metrics = {**arm.metrics, "generator_part.p50": 0.6}
    assert found(prediction, summary).reason.startswith("The load generator itself caused 60% of it.")
    arms = summary.arms
    summary.disturbed_cells = [
        DisturbedCell(arm=arm, repeat=1, reason="", cause="processes", planned_rate_per_s=None)
        for arm in arms
    ]
    assert found(prediction, summary).reason == "The machine disturbed a cell of this arm."


def test_a_band_without_width_lacks_the_spread_of_the_costs(summary: Summary) -> None:
    value = found(predicted(ANY, "latency_ms.p50", summary), summary).measured_median
    for width_ms, reason in ((0.5, "The band has the medians of the costs"), (2, "Not explained.")):
        band = Band(low=value + 3, median=value + 3, high=value + 3 + width_ms)
        assert found(predicted(band, "latency_ms.p50", summary), summary).reason.startswith(reason)


def test_one_repeat_just_outside_may_be_chance(summary: Summary) -> None:
    metric = "spread.max_over_mean"
    one = summary.model_copy(deep=True)
    for arm in one.arms.values():
        arm.repeats = arm.repeats[:1]
    for told, repeats, beyond in ((True, one, 0.4), (False, one, 0.6), (False, summary, 0.4)):
        value = found(predicted(ANY, metric, repeats), repeats).measured_median
        band = Band(low=value + beyond, median=value + beyond, high=value + beyond + 1)
        reason = found(predicted(band, metric, repeats), repeats).reason
        assert reason.startswith("One repeat, outside by at most half" if told else "Not explained.")


def test_a_latency_without_known_costs_is_no_surprise(summary: Summary) -> None:
    short = Band(low=-9.0, median=-8.0, high=-7.0)
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
    arm = ArmPrediction(not_modelled=[], simulations=19, calibrated=False, overload=0.5, metrics={"x": band})
    write_record(tmp_path / PREDICTION, Prediction(arms={"a": arm}))
    read = read_prediction(tmp_path)
    assert read is not None
    assert read.arms["a"].metrics["x"] == Band(low=1.0, median=2.0, high=None)


def test_the_terminal_says_how_many_held_and_names_the_first_surprises(
    summary: Summary, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    console = SafeConsole(width=60)
    print_prediction(tmp_path, summary, console)
    assert capsys.readouterr().out == ""
    write_record(tmp_path / PREDICTION, predicted(ANY, "spread.max_over_mean", summary))
    print_prediction(tmp_path, summary, console)
    count = len(summary.arms)
    assert f"predicted    {count} of {count} measurements lie in the" in capsys.readouterr().out
    above = Band(low=50.0, median=60.0, high=70.0)
    write_record(tmp_path / PREDICTION, predicted(above, "spread.max_over_mean", summary))
    print_prediction(tmp_path, summary, console)
    out = capsys.readouterr().out
    assert out.count("  surprise     ") == count
    assert max(map(len, out.splitlines())) <= 60
