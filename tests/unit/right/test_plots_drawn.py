"""Plots: every axis says what it shows and in which unit, replicas keep their colour, nothing is cut off."""

from statistics import median

import matplotlib as mpl
import pytest
from matplotlib.colors import to_hex

from harness.plot_style import RC, arm_title, replica_bar, replica_line
from harness.plots import PLOTS, draw_plots
from harness.record import read_run
from harness.summary import facts_of
from tests.unit.right.invented import EXPERIMENT, GOLDEN, invent_run


@pytest.fixture(scope="module")
def golden():
    return facts_of(read_run(GOLDEN))


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """Three arms with names as long as may be, 20 replicas, 40 clients."""
    names = ["a" * 40, "no_cookie_jar_but_with_awaited_first_ans", "round_robin"]
    arms = "".join(f"  {name}: {{route: envoy, policy: round_robin}}\n" for name in names)
    experiment = EXPERIMENT.split("arms:")[0].replace("count: 4", "count: 20") + f"arms:\n{arms}repeats: 1\n"
    policies = [(name, "envoy", "sticky" if name == names[0] else "round_robin") for name in names]
    run = invent_run(
        tmp_path_factory.mktemp("run"), experiment, policies, repeats=1, replicas=20, clients=40, requests=200
    )
    return facts_of(read_run(run))


@pytest.fixture(params=["golden", "crowded"])
def facts(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("name", PLOTS)
def test_every_axis_has_a_label_with_its_unit(golden, name):
    figure = PLOTS[name].draw(golden)
    for axes in figure.axes:
        labels = (
            [axes.get_ylabel()]
            if axes.get_label() == "<colorbar>"
            else [axes.get_xlabel(), axes.get_ylabel()]
        )
        for label in labels:
            assert label.rstrip().endswith(")"), label
            assert "(" in label, label


@pytest.mark.parametrize("name", PLOTS)
def test_nothing_overlaps_or_is_cut_off(facts, name):
    with mpl.rc_context(RC):
        figure = PLOTS[name].draw(facts)
        figure.draw_without_rendering()
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
            assert min(overlap) <= 2, (name, overlap)


def test_whatever_is_drawn_lies_within_its_axes(facts):
    for name in ("share_over_time", "queues", "share_per_replica"):
        for axes in PLOTS[name].draw(facts).axes:
            low, high = axes.get_ylim()
            drawn = axes.dataLim
            assert low <= drawn.y0, name
            assert drawn.y1 <= high, name


def test_a_replica_has_the_same_colour_in_every_plot(golden):
    for arm_axes in PLOTS["share_over_time"].draw(golden).axes:
        for number, line in enumerate(arm_axes.lines[:4]):
            assert line.get_color() == replica_bar(number)["color"] == replica_line(number)["color"]
    for arm_axes in PLOTS["share_per_replica"].draw(golden).axes:
        for place, bar in enumerate(arm_axes.patches):  # 4 replicas, group after group
            assert to_hex(bar.get_facecolor()).upper() == replica_line(place % 4)["color"]


def test_many_replicas_are_still_told_apart():
    lines = {(s["color"], s["linestyle"], s["marker"]) for s in map(replica_line, range(64))}
    bars = {(s["color"], s["hatch"]) for s in map(replica_bar, range(64))}
    assert len(lines) == len(bars) == 64


def test_the_bars_show_the_shares(golden):
    axes = PLOTS["share_per_replica"].draw(golden).axes[0]
    heights = [bar.get_height() for bar in axes.patches]
    groups = [heights[place : place + 4] for place in range(0, len(heights), 4)]
    cells = next(iter(golden.values()))
    for group, cell in zip(groups, cells, strict=False):
        counts = list(cell.replica_requests.values())
        assert group == pytest.approx([100 * count / sum(counts) for count in counts])
    assert len(groups) == len(cells) + 1  # and the medians
    assert groups[-1] == pytest.approx([median(heights) for heights in zip(*groups[:-1], strict=True)])
    assert 25 in [line.get_ydata()[0] for line in axes.lines]  # the fair share


def test_long_names_are_broken_at_an_underscore():
    assert arm_title("round_robin") == "round_robin"
    assert arm_title("no_cookie_jar_but_with_awaited_first") == "no_cookie_jar_but_\nwith_awaited_first"


def test_nothing_answered_draws_nothing(golden, tmp_path):
    assert draw_plots({"a": []}, tmp_path / "plots") == {}
    assert list((tmp_path / "plots").iterdir()) == []
