"""Plots that do not apply to every run: when they are drawn, and that they show the figures."""

from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.summary import facts_of
from harness.metrics.facts import Latency
from harness.metrics.headlines import headline_of
from harness.metrics.metric import RANKS
from harness.metrics.registry import METRICS
from harness.record.run_directory import read_run
from harness.report.plots import PLOTS
from harness.report.plotting import AT_LEAST, AT_LEAST_IN_WORDS, PlotData
from tests.unit.synthetic import stories
from tests.unit.synthetic.synthetic_run import synthesise_run

pytestmark = pytest.mark.whole_run

ALWAYS = {"share_per_replica", "share_over_time", "clients_by_replica", "latency", "stages", "queues"}


def drawn(data):
    return {name for name, plot in PLOTS.items() if plot.applies(data)}


def panel(figure, title):
    """The panel with that title, or with the headline of that metric."""
    wanted = headline_of(title) if title in METRICS else title
    return next(axes for axes in figure.axes if axes.get_title() == wanted)


def test_each_is_drawn_where_it_says_something(told):
    uneven = {"spread_by_unit", "clients_on_replicas"}
    assert drawn(told["swept"]) - {"errors"} == ALWAYS | {"sweep"} | uneven
    assert drawn(told["cached"]) - {"errors", *uneven} == ALWAYS | {"trade_off"}
    assert drawn(told["twelve"]) - uneven == ALWAYS | {"errors"}
    assert drawn(told["lonely"]) - {"errors"} == ALWAYS


def test_a_sweep_draws_medians_over_the_factor_and_lines_for_arms_without_it(told):
    data = told["swept"]
    axes = panel(PLOTS["sweep"].draw(data), "spread.max_over_mean")
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "clients (number)"
    lines = {bars.get_label(): bars.lines[0] for bars in axes.containers}
    for arm in ("sticky", "round_robin"):
        medians = [np.median(data.values(f"{arm}_{n}", "spread.max_over_mean")) for n in (4, 12, 40)]
        assert list(lines[arm].get_xdata()) == [4, 12, 40]
        assert list(lines[arm].get_ydata()) == pytest.approx(medians)
    flat = next(line for line in axes.lines if line.get_label() == "direct")
    assert set(flat.get_ydata()) == {np.median(data.values("direct", "spread.max_over_mean"))}


MODEL = "random_placement.max_over_mean"


def test_the_model_stands_beside_sessions_that_stay_and_not_beside_others(told):
    data = told["swept"]
    axes = panel(PLOTS["sweep"].draw(data), "spread.max_over_mean")
    (line,) = [line for line in axes.lines if "random" in str(line.get_label())]
    assert line.get_label() == "sticky: mean of random placements"
    assert line.get_linestyle() == "--"
    model = [np.median(data.values(f"sticky_{n}", MODEL)) for n in (4, 12, 40)]
    assert list(line.get_ydata()) == pytest.approx(model)


def test_nine_of_ten_placements_are_a_band_and_each_repeat_is_a_dot(told):
    data = told["swept"]
    axes = panel(PLOTS["sweep"].draw(data), "spread.max_over_mean")
    (band,) = [area for area in axes.collections if "nine of ten" in str(area.get_label())]
    corners = {(round(x, 6), round(y, 6)) for x, y in band.get_paths()[0].vertices}
    for n in (4, 12, 40):
        for end in ("_p5", "_p95"):
            height = np.median(data.values(f"sticky_{n}", f"{MODEL}{end}"))
            assert (n, round(float(height), 6)) in corners
    dots = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    drawn_ = sorted((x, y) for line in dots for x, y in zip(*line.get_data(), strict=True))
    measured = [(n, v) for n in (4, 12, 40) for v in data.values(f"sticky_{n}", "spread.max_over_mean")]
    assert np.array(drawn_) == pytest.approx(np.array(sorted(measured)))


def test_a_sweep_has_a_panel_for_each_metric_that_is_expected(told):
    titles = [axes.get_title() for axes in PLOTS["sweep"].draw(told["swept"]).axes]
    expected = ("affinity.purity", "spread.max_over_mean", "latency_ms.p99")
    assert titles == [headline_of(metric) for metric in expected]


def test_the_trade_off_puts_each_arm_at_its_imbalance_and_hits_with_its_latency(told):
    data = told["cached"]
    axes = PLOTS["trade_off"].draw(data).axes[0]
    points = {line.get_label(): line for line in axes.lines}
    texts = {text.get_text() for text in axes.texts}
    for arm in data.arms:
        imbalance, hits, p99 = (
            data.values(arm, metric)[0]
            for metric in ("spread.max_over_mean", "cache.hit_share", "latency_ms.p99")
        )
        least = "≥ " if data.is_least(arm, "latency_ms.p99") else ""
        assert points[arm].get_xdata()[0] == pytest.approx(imbalance)
        assert points[arm].get_ydata()[0] == pytest.approx(100 * hits)
        assert f"p99 {least}{p99:.3g} ms" in texts
    assert len(axes.texts) == len(data.arms)


def test_errors_are_stacked_by_code_beside_attempts(told):
    data = told["twelve"]
    shares, attempts = PLOTS["errors"].draw(data).axes
    bars = {container.get_label(): container for container in shares.containers}
    assert list(bars) == ["INTERNAL", "UNAVAILABLE"]
    for row, arm in enumerate(data.arms):
        ends = [container[row].get_width() for container in bars.values()]
        assert sum(ends) == pytest.approx(100 * data.values(arm, "error_share")[0])
        first, second = (container[row] for container in bars.values())
        assert second.get_x() == pytest.approx(first.get_width())
        tries = attempts.containers[0][row].get_width()
        assert tries == pytest.approx(data.values(arm, "attempts.per_request")[0])
        assert (tries > 1) == (row >= 6)
    assert [label.get_text().replace("\n", "") for label in shares.get_yticklabels()] == data.arms


def test_units_have_a_bar_each(told):
    data = told["cached"]
    axes = PLOTS["spread_by_unit"].draw(data).axes[0]
    bars = [container for container in axes.containers if hasattr(container, "patches")]
    assert [one.get_label() for one in bars] == ["connections", "sessions", "RPCs", "messages", "busy time"]
    for unit, container in zip(
        ("connections", "sessions", "spread", "messages", "busy_time"), bars, strict=True
    ):
        expected = [np.median(data.values(arm, f"{unit}.max_over_mean")) for arm in data.arms]
        assert [bar.get_width() for bar in container] == pytest.approx(expected)


def test_long_names_of_rows_are_broken(told):
    labels = PLOTS["spread_by_unit"].draw(told["crowded"]).axes[0].get_yticklabels()
    assert [label.get_text().count("\n") for label in labels] == [1, 1, 0]


def test_many_arms_are_rows_of_latency_few_are_lines(told):
    few, many = (PLOTS["latency"].draw(told[name]) for name in ("golden", "twelve"))
    assert few.axes[0].get_ylabel() == "Latency (ms, log scale)"
    assert many.axes[0].get_xlabel() == "Latency (ms, log scale)"
    assert len(many.axes[0].get_yticklabels()) == 12


def test_retries_that_leave_no_error_are_told_by_their_attempts(tmp_path):
    tried = stories.experiment(
        {"tried": "route: envoy, policy: random, retries: {by: proxy, attempts: 5}"},
        replicas=", fail_share: 0.1",
    )
    run = read_run(synthesise_run(tmp_path, tried, requests=100))
    data = PlotData.of(run.experiment, facts_of(run))
    assert data.values("tried", "error_share")[0] == 0
    assert "errors" in drawn(data)


def failing_half(told):
    """The golden story, as if half of the requests of one arm had failed, and none of the other's."""
    data = told["golden"]
    bad = [
        replace(cell, latency=half_failed(cell), errors={"UNAVAILABLE": 1}) for cell in data.facts["sticky"]
    ]
    good = [replace(cell, latency=whole(cell)) for cell in data.facts["round_robin"]]
    return PlotData(data.experiment, {"sticky": bad, "round_robin": good})


def half_failed(cell, ranks=None):
    known = dict.fromkeys(ranks or cell.latency.of_all_ns, 5e6)
    infinite = {name: value if name == "p50" else np.inf for name, value in known.items()}
    return Latency(infinite, known, known)


def marks_of(axes):
    lines = [line for line in axes.lines if line.get_marker() == AT_LEAST["marker"]]
    return [point for line in lines for point in zip(*line.get_data(), strict=True)]


def test_a_percentile_on_failed_requests_is_marked_at_what_it_is_at_least(told):
    data = failing_half(told)
    figure = PLOTS["latency"].draw(data)
    planned, of_ok, _ = figure.axes
    assert [axes.get_title() for axes in (planned, of_ok)] == [
        "All, from the planned send",
        "OK alone, from the planned send",
    ]
    marks = marks_of(planned)
    assert {y for _, y in marks} == {5}
    assert len(marks) == len(data.facts["sticky"][0].latency.of_all_ns) - 1  # all but the median
    assert marks_of(of_ok) == []
    assert AT_LEAST_IN_WORDS in [text.get_text() for text in figure.legends[0].get_texts()]


def test_where_nothing_failed_there_is_no_panel_of_ok_alone(told):
    data = told["golden"]
    calm = {
        arm: [replace(cell, errors={}, latency=whole(cell), latency_from_send=whole(cell)) for cell in cells]
        for arm, cells in data.facts.items()
    }
    figure = PLOTS["latency"].draw(PlotData(data.experiment, calm))
    assert [axes.get_title() for axes in figure.axes] == [
        "All, from the planned send",
        "All, from the actual send",
    ]
    assert AT_LEAST_IN_WORDS not in [text.get_text() for text in figure.legends[0].get_texts()]


def whole(cell):
    return Latency(cell.latency.of_ok_ns, cell.latency.of_ok_ns, cell.latency.of_ok_ns)


def test_a_swept_point_on_failed_requests_is_marked(told):
    data = told["swept"]
    cells = [replace(cell, latency=half_failed(cell)) for cell in data.facts["sticky_12"]]
    axes = panel(
        PLOTS["sweep"].draw(PlotData(data.experiment, {**data.facts, "sticky_12": cells})), "latency_ms.p99"
    )
    assert (12, 5) in marks_of(axes)


def test_rows_mark_them_too(told):
    data = told["twelve"]
    arm = data.arms[0]
    cells = [replace(cell, latency=half_failed(cell)) for cell in data.facts[arm]]
    axes = PLOTS["latency"].draw(PlotData(data.experiment, {**data.facts, arm: cells})).axes[0]
    marks = [line for line in axes.lines if line.get_marker() == r"$\rightarrow$"]
    assert (5, 0) in {(x, y) for line in marks for x, y in zip(*line.get_data(), strict=True)}


def test_the_trade_off_says_what_a_p99_is_at_least(told):
    data = told["cached"]
    cells = [replace(cell, latency=half_failed(cell, RANKS)) for cell in data.facts["sticky"]]
    axes = PLOTS["trade_off"].draw(PlotData(data.experiment, {**data.facts, "sticky": cells})).axes[0]
    assert "p99 ≥ 5 ms" in {text.get_text() for text in axes.texts}
