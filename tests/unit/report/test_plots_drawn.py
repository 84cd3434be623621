"""Plots: every axis says what it shows and in which unit, replicas keep their colour, nothing is cut off."""

import itertools
from dataclasses import replace
from statistics import median

import matplotlib as mpl
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from harness.metrics.registry import METRICS
from harness.report.plots import PLOTS, draw_plots
from harness.report.plots_share import RANK_BAR
from harness.report.plotting import RC, PlotData, arm_title, lay_out, replica_bar, replica_line
from tests.unit.synthetic.stories import BY_NAME
from tests.unit.thorough import THOROUGH

pytestmark = pytest.mark.whole_run

STORIES = ("golden", *BY_NAME)
# The stories in which a plot shows most. Plots that are not listed use long names and many arms.
MOST_TO_SHOW = {
    **dict.fromkeys(("over_time", "session_ribbon", "recovery"), ("stormy",)),
    **{"sweep": ("swept",), "trade_off": ("cached",), "clients_on_replicas": ("swept", "killed")},
}


@pytest.fixture
def golden(told):
    return told["golden"]


@pytest.fixture(autouse=True)
def _the_style_of_the_lab():
    with mpl.rc_context(RC):
        yield


def plots_of_stories():
    """Plot and story: thorough tests draw all plots of all stories."""
    for name, story in itertools.product(PLOTS, STORIES):
        if THOROUGH or story in MOST_TO_SHOW.get(name, ("crowded", "twelve")):
            yield name, story


@pytest.fixture(scope="module", params=plots_of_stories(), ids="-".join)
def figure(request, told):
    """Each plot of each story in turn, laid out. Empty if the plot does not apply to the story."""
    name, story = request.param
    if not PLOTS[name].applies(told[story]):
        return Figure()
    with mpl.rc_context(RC):
        drawn = PLOTS[name].draw(told[story])
        lay_out(drawn)
        return drawn


# tests/simulator/test_searched_runs.py has a run with a search.
@pytest.mark.parametrize("name", [name for name in PLOTS if name != "search"])
def test_every_plot_applies_to_some_run(told, name):
    assert any(PLOTS[name].applies(data) for data in told.values())


def test_every_axis_has_a_label_with_its_unit(figure):
    for axes in figure.axes:
        labels = (
            [axes.get_ylabel()]
            if axes.get_label() == "<colorbar>"
            else [axes.get_xlabel(), axes.get_ylabel()]
        )
        for label in labels:
            assert label.rstrip().endswith(")"), label
            assert "(" in label, label


def test_nothing_overlaps_or_is_cut_off(figure):
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    boxes += [legend.get_window_extent() for legend in figure.legends]
    page = figure.bbox
    for place, box in enumerate(boxes):
        assert box.x0 >= page.x0 - 2
        assert box.y0 >= page.y0 - 2
        assert box.x1 <= page.x1 + 2
        assert box.y1 <= page.y1 + 2
        for other in boxes[:place]:
            overlap = (
                min(box.x1, other.x1) - max(box.x0, other.x0),
                min(box.y1, other.y1) - max(box.y0, other.y0),
            )
            assert min(overlap) <= 2, overlap


def test_whatever_is_drawn_lies_within_its_axes(figure, request):
    name, _ = request.node.callspec.params["figure"]
    if name not in ("share_over_time", "queues", "share_per_replica", "clients_on_replicas"):
        return
    for axes in figure.axes:
        low, high = axes.get_ylim()
        inside = axes.dataLim
        assert low <= inside.y0
        assert inside.y1 <= high


def test_a_replica_has_the_same_colour_in_every_plot(golden):
    for arm_axes in PLOTS["share_over_time"].draw(golden).axes:
        for number, line in enumerate(arm_axes.lines[:4]):
            assert line.get_color() == replica_bar(number)["color"] == replica_line(number)["color"]
    for arm, arm_axes in zip(golden.arms, PLOTS["share_per_replica"].draw(golden).axes, strict=True):
        cells = golden.facts[arm]
        bars = [to_hex(bar.get_facecolor()).upper() for bar in arm_axes.patches]
        for turn, cell in enumerate(cells):
            colours = [replica_line(number)["color"] for number, _ in by_rank(cell)]
            assert bars[4 * turn : 4 * turn + 4] == colours
        assert set(bars[4 * len(cells) :]) == {RANK_BAR["color"]}, "ranks are no replicas"


def test_an_arm_keeps_its_colour_when_another_has_no_answer(golden):
    less = PlotData.of(golden.experiment, {**golden.facts, "sticky": []})
    assert less.arms == ["round_robin"]
    whole, part = (PLOTS["latency"].draw(data).axes[0].lines for data in (golden, less))
    assert {line.get_color() for line in part} < {line.get_color() for line in whole}
    assert part[0].get_color() != whole[0].get_color()


def test_many_replicas_are_still_told_apart():
    lines = {(s["color"], s["linestyle"], s["marker"]) for s in map(replica_line, range(64))}
    bars = {(s["color"], s["hatch"]) for s in map(replica_bar, range(64))}
    assert len(lines) == len(bars) == 64


def by_rank(cell):
    """Index and share in % of each replica, the busiest first."""
    counts = list(cell.replica_requests.values())
    shares = [(number, 100 * count / sum(counts)) for number, count in enumerate(counts)]
    return sorted(shares, key=lambda one: -one[1])


def groups_of_four(axes):
    heights = [bar.get_height() for bar in axes.patches]
    return [heights[place : place + 4] for place in range(0, len(heights), 4)]


def with_another_busiest_each_time(data, arm):
    """The arm as if in each repeat another replica had most requests."""
    turned = []
    for turn, cell in enumerate(data.facts[arm]):
        names, counts = list(cell.replica_requests), [40, 30, 20, 10]
        counts = counts[turn:] + counts[:turn]
        turned.append(replace(cell, replica_requests=dict(zip(names, counts, strict=True))))
    return PlotData(data.experiment, {arm: turned})


def test_the_bars_of_a_repeat_show_its_shares_the_busiest_first(golden):
    axes = PLOTS["share_per_replica"].draw(golden).axes[0]
    groups, cells = groups_of_four(axes), golden.facts["sticky"]
    for group, cell in zip(groups, cells, strict=False):
        assert group == pytest.approx([share for _, share in by_rank(cell)])
    assert len(groups) == len(cells) + 1  # and the medians
    assert groups[-1] == pytest.approx([median(heights) for heights in zip(*groups[:-1], strict=True)])
    assert 25 in [line.get_ydata()[0] for line in axes.lines]  # the fair share


def test_medians_do_not_hide_that_each_repeat_is_uneven(golden):
    axes = PLOTS["share_per_replica"].draw(with_another_busiest_each_time(golden, "sticky")).axes[0]
    groups = groups_of_four(axes)
    assert groups[-1] == pytest.approx([40, 30, 20, 10])
    colours = [to_hex(axes.patches[place].get_facecolor()) for place in (0, 4, 8)]
    assert len(set(colours)) == 3, "it is another replica each time"
    words = {text.get_text() for text in axes.get_figure().legends[0].get_texts()}
    assert {"fair share", "replica-0", "median of a rank"} <= words


def test_replicas_that_the_experiment_tells_apart_stand_by_name(told):
    data = told["killed"]
    axes = PLOTS["share_per_replica"].draw(data).axes[0]
    cells = data.facts["sticky"]
    counts = list(cells[0].replica_requests.values())
    bars = axes.patches[: len(counts)]
    assert [bar.get_height() for bar in bars] == pytest.approx([100 * n / sum(counts) for n in counts])
    assert to_hex(bars[1].get_facecolor()).upper() == replica_line(1)["color"]
    medians = axes.patches[len(cells) * len(counts) :]
    assert to_hex(medians[1].get_facecolor()).upper() == replica_line(1)["color"]


def test_long_names_are_broken_at_an_underscore():
    assert arm_title("round_robin") == "round_robin"
    assert arm_title("no_cookie_jar_but_with_awaited_first") == "no_cookie_jar_but_\nwith_awaited_first"


def test_nothing_answered_draws_nothing_and_removes_what_was_drawn(golden, tmp_path):
    folder = tmp_path / "plots"
    folder.mkdir()
    (folder / "of_an_earlier_lab.svg").write_text("<svg/>")
    assert draw_plots(PlotData.of(golden.experiment, {"sticky": []}), folder) == ({}, None)
    assert list(folder.iterdir()) == []


def test_requests_that_stayed_in_their_zone_come_first(told):
    axes = PLOTS["zones"].draw(told["rolled"]).axes[0]
    bars = {container.get_label(): container for container in axes.containers}
    assert list(bars) == ["a to a", "b to b", "a to b", "b to a"]
    for row, arm in enumerate(told["rolled"].arms):
        (cell,) = told["rolled"].facts[arm]
        requests = cell.zone_requests
        widths = {label: bars[label][row].get_width() for label in bars}
        assert widths["a to b"] == pytest.approx(100 * requests["a", "b"] / sum(requests.values()))
        assert sum(widths.values()) == pytest.approx(100)
        crossed = 100 * METRICS["zones.crossed_share"].compute(cell)
        assert bars["a to b"][row].get_x() == pytest.approx(100 - crossed)
    assert [bars[label][0].get_hatch() for label in bars] == ["", "", "///", "///"]


def test_each_node_has_its_share_of_every_window(told):
    data = told["rolled"]
    for axes, arm in zip(PLOTS["nodes_over_time"].draw(data).axes, data.arms, strict=True):
        (cell,) = data.facts[arm]
        assert cell.node_series.nodes == ["envoy-0", "envoy-1"]
        requests = cell.node_series.requests
        assert requests.sum(axis=1) == pytest.approx(cell.replica_series.requests.sum(axis=1))
        first, both = (patch.get_data() for patch in axes.patches)
        full = requests.sum(axis=1) > 0
        share = 100 * requests[full, 0] / requests[full].sum(axis=1)
        assert first.values[full] == pytest.approx(share)
        assert both.values[full] == pytest.approx(100)
