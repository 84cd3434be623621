"""A search with simulated cells: what it measures, records and reports, and what is predicted of it."""

import json
import math
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import pytest

import tests.simulator.kernels  # noqa: F401
from harness.analysis.compare import compare, differences
from harness.analysis.summary import facts_of, summarise
from harness.cli.main import main
from harness.metrics.registry import CAPACITY
from harness.output.safe_console import SafeConsole
from harness.record.machine_costs import MachineCosts
from harness.record.prediction import PREDICTION, ArmPrediction, Band, Prediction
from harness.record.record_file import write_record
from harness.record.run_directory import Run, read_run
from harness.record.summary import SUMMARY
from harness.report.finding import finding_of
from harness.report.plots import PLOTS
from harness.report.plotting import NARROW_IN, RC, PlotData, lay_out
from harness.report.terminal import print_summary
from harness.run.repeats import Claims
from harness.run.search import SearchRounds
from harness.spec.experiment import as_asked, load_experiment
from harness.testbed.simulated.predict import predict

TEXT = """\
title: Capacity
question: How much?
lesson: Look.
replicas: {count: 2, slots: 2, service_time_ms: {distribution: exponential, mean: 10}}
workload: {clients: 4, rate_per_s: 120, skew: 2, calls: {AddVideo: 1}, warm_up_s: 0.5, duration_s: 5}
arms:
  sticky: {route: envoy, policy: sticky}
  turns: {route: envoy, policy: round_robin}
search: {factor: rate_per_s, while: {metric: latency_ms.p99, at_most: 100}, within: 20 %, max_cells: 6}
repeats: 2
expect:
  - {arm: sticky, metric: capacity_per_s, at_most_times: 3, of: turns}
  - {arm: turns, metric: capacity_per_s, at_least: 10}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the search, with its output in `out`."""
    results = tmp_path_factory.mktemp("searched")
    file = results / "searched.yaml"
    file.write_text(TEXT)
    status = main([str(file), "--testbed", "simulated", "--results", str(results), "-q", "--no-plots"])
    assert status in (0, 3)
    return results / "searched" / "latest"


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return read_run(folder)


def test_its_plot_fits_a_phone(run: Run) -> None:
    facts = facts_of(run)
    with mpl.rc_context(RC):
        search = summarise(run, facts).search
        data = replace(PlotData.of(run.experiment, facts, search), narrow=True)
        assert PLOTS["search"].applies(data)
        figure = PLOTS["search"].draw(data)
        lay_out(figure)
    assert figure.get_figwidth() == NARROW_IN
    boxes = [axes.get_tightbbox() for axes in figure.axes] + [
        one.get_window_extent() for one in figure.legends
    ]
    assert all(box.x0 >= -2 and box.x1 <= figure.bbox.x1 + 2 for box in boxes if box is not None)


def test_a_capacity_that_is_compared_with_none_is_told(run: Run) -> None:
    summary = summarise(run, facts_of(run))
    alone = [finding for finding in summary.expectations if finding.of is None]
    assert alone
    text = finding_of(summary.model_copy(update={"expectations": alone})).text
    assert "With turns, the capacity was" in text


def test_each_cell_is_an_arm_at_its_value(run: Run) -> None:
    assert run.manifest.status == "completed"
    for planned, cell in zip(run.manifest.cells, run.cells, strict=True):
        assert planned.searched is not None
        variant = run.experiment.variants[planned.arm]
        assert (variant.base, variant.value) == (planned.searched.arm, planned.searched.value)
        assert cell.record.planned_rate_per_s == planned.searched.value
    assert list(as_asked(run.experiment).variants) == ["sticky", "turns"]


def test_the_summary_has_a_bracket_of_each_arm_and_repeat(folder: Path, run: Run) -> None:
    search = json.loads((folder / SUMMARY).read_text())["search"]
    assert list(search["arms"]) == ["sticky", "turns"]
    cells = 0
    for arm in search["arms"].values():
        assert [one["repeat"] for one in arm["repeats"]] == [1, 2]
        for one in arm["repeats"]:
            cells += len(one["cells"])
            held = [cell["value"] for cell in one["cells"] if cell["held"]]
            failed = [cell["value"] for cell in one["cells"] if cell["held"] is False]
            assert one["low"] == max(held)
            assert one["high"] == min(failed)
            assert one["is_found"] == (one["high"] <= 1.2 * 1.006 * one["low"])
    assert cells == len(run.cells)
    # Four clients with skew 2: one of two replicas gets three quarters of the requests.
    assert search["arms"]["sticky"]["high"] < search["arms"]["turns"]["low"]


def test_the_report_is_made_again_from_the_folder_alone(folder: Path) -> None:
    before = json.loads((folder / SUMMARY).read_text())
    assert main(["report", str(folder)]) == 0
    assert json.loads((folder / SUMMARY).read_text()) == before
    page = (folder / "report.html").read_text()
    assert "The cells of the search" in page
    assert "the search takes for granted" in page.lower()
    drawn = {path.stem for path in (folder / "plots").glob("*.svg")}
    assert "search" in drawn
    assert "sweep" not in drawn


def test_the_terminal_says_what_was_found(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(summarise(run), SafeConsole())
    out = " ".join(capsys.readouterr().out.split())
    assert "Highest rate at which the condition holds" in out
    assert "the capacity was" in out


def test_two_searches_are_compared_by_their_capacities(run: Run) -> None:
    found = compare(run, run)
    assert [(one.arm, one.metric, one.repeats, one.note) for one in found] == [
        ("sticky", CAPACITY, (2, 2), "same"),
        ("turns", CAPACITY, (2, 2), "same"),
    ]
    assert differences(run, run) == []


def test_a_search_begins_at_its_prediction(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(TEXT)
    experiment = load_experiment(str(file))
    band = Band(low=90.0, median=100.0, high=110.0)
    arm = ArmPrediction(
        not_modelled=[], simulations=19, calibrated=True, overload=None, metrics={CAPACITY: band}
    )
    write_record(tmp_path / PREDICTION, Prediction(arms={"sticky": arm}))
    waited: list[str] = []
    rounds = SearchRounds(experiment, tmp_path, Claims(tmp_path)).rounds(lambda: waited.append("predicted"))
    first = next(rounds)
    assert waited == ["predicted"]
    rates = {cell.searched.name: cell.searched.value for cell in first if cell.searched}
    # The first of two cells around the guess; without a prediction the guess is the workload's rate.
    assert rates == {"sticky": 91.3, "turns": 98.0}
    assert [cell.order for cell in first] == [0, 1]


def test_the_capacity_is_predicted(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(TEXT)
    experiment = load_experiment(str(file))
    prediction = predict(experiment, "local", MachineCosts(), counts=(19,))
    bands = {name: arm.metrics[CAPACITY] for name, arm in prediction.arms.items()}
    assert bands["sticky"].high is not None and bands["turns"].median is not None
    assert bands["sticky"].high < bands["turns"].median < 400
    assert [arm.overload for arm in prediction.arms.values()] == [None, None]
    assert all(math.isfinite(band.low or 0) for band in bands.values())


def test_another_metric_is_not_predicted(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(TEXT.replace("latency_ms.p99, at_most: 100", "stage_ms.way_back.p50, at_most: 20"))
    found = predict(load_experiment(str(file)), "local", MachineCosts())
    assert found.skipped is not None and "way_back" in found.skipped
