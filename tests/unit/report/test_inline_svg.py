"""Plots in the page itself: text is text, colours follow the theme, ids are unique, nothing is lost."""

import re
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.registry import METRICS
from harness.report.assets import style
from harness.report.inline_svg import inline_svg
from harness.report.plots import MAX_NARROW_IN, PLOTS, draw_narrow, main_plot
from harness.report.plotting import NARROW_IN, RC, PlotData, lay_out
from harness.spec.experiment import catalogue

pytestmark = pytest.mark.whole_run

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def drawn(told):
    return draw_narrow(told["golden"], "share_per_replica")


def texts(svg):
    root = ET.fromstring(svg)
    return sorted(filter(None, ((one.text or "").strip() for one in root.iter() if one.tag.endswith("text"))))


def test_all_text_is_text_and_can_be_found(drawn):
    inline = inline_svg("a", drawn, "T", "D")
    assert texts(inline) == texts(drawn)
    assert "fair share" in inline


def test_ids_are_those_that_are_used_and_begin_with_the_name(drawn):
    first, second = (inline_svg(name, drawn, "T", "D") for name in ("a", "b"))
    ids = {name: re.findall(r' id="([^"]*)"', svg) for name, svg in (("a", first), ("b", second))}
    assert not set(ids["a"]) & set(ids["b"])
    for name, svg in (("a", first), ("b", second)):
        assert all(one.startswith(f"{name}-") for one in ids[name])
        used = [*re.findall(r'(?:href="|url\()#([\w.-]+)', svg), f"{name}-title", f"{name}-desc"]
        assert set(used) == set(ids[name])


def test_black_white_and_grey_follow_the_theme_and_other_colours_stay(drawn):
    inline = inline_svg("a", drawn, "T", "D")
    left = {colour.lower() for colour in re.findall(r'"(#[0-9A-Fa-f]{6})"', inline)}
    assert not left & {"#000000", "#ffffff", "#cccccc", "#333333", "#332288"}
    assert "#0072b2" in left
    variables = set(re.findall(r"var\((--[\w-]+)\)", inline))
    assert variables
    declared = style("page.css")
    assert all(declared.count(f"{name}:") == 2 for name in variables), "in both themes"


def test_it_is_much_smaller_and_has_no_style_of_its_own(drawn):
    inline = inline_svg("a", drawn, "T", "D")
    assert len(inline) < 0.6 * len(drawn)
    assert "<style" not in inline
    assert "style=" not in inline
    assert "<metadata" not in inline


def test_marks_that_look_alike_share_their_style():
    red, blue = (
        f'<use xlink:href="#m" x="{{}}" y="1" style="fill: {colour}"/>' for colour in ("red", "blue")
    )
    marks = "".join([red.format(1), red.format(2), blue.format(3), red.format(4)])
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 1 1"><defs><path id="m" d="M 0 0"/></defs>{marks}</svg>'
    )
    assert inline_svg("a", svg, "T", "D").endswith(
        '<defs><path id="a-0" d="M 0 0"/></defs>'
        '<g fill="red"><use href="#a-0" x="1" y="1"/><use href="#a-0" x="2" y="1"/></g>'
        '<use href="#a-0" x="3" y="1" fill="blue"/><use href="#a-0" x="4" y="1" fill="red"/></svg>'
    )


@given(st.text(), st.text())
def test_titles_are_escaped(title, description):
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"></svg>'
    inline = inline_svg("a", svg, title, description)
    inside = re.sub(r"</?(svg|title|desc)\b[^>]*>", "", inline)
    assert "<" not in inside
    assert ">" not in inside


def test_what_a_text_says_is_escaped():
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><text>&lt;b&gt; &amp;</text></svg>'
    assert "<text>&lt;b&gt; &amp;</text>" in inline_svg("a", svg, "T", "D")


# tests/simulator/test_searched_runs.py draws the plot of a search.
@pytest.mark.parametrize("name", [name for name in PLOTS if name != "search"])
def test_a_narrow_plot_fits_its_width(told, name):
    story = next(
        story
        for story in ("golden", "killed", "swept", "cached", "twelve", "rolled")
        if PLOTS[name].applies(told[story])
    )
    with mpl.rc_context(RC):
        figure = PLOTS[name].draw(PlotData(told[story].experiment, told[story].facts, narrow=True))
        lay_out(figure)
    assert figure.get_figwidth() == NARROW_IN
    boxes = [axes.get_tightbbox() for axes in figure.axes] + [
        one.get_window_extent() for one in figure.legends
    ]
    assert all(box.x0 >= -2 and box.x1 <= figure.bbox.x1 + 2 for box in boxes)


def test_many_arms_below_each_other_are_too_high(told):
    assert draw_narrow(told["stormy"], "session_ribbon") is None
    assert MAX_NARROW_IN > 10


def test_every_plot_states_a_metric_that_there_is():
    assert all(plot.states == "" or plot.states in METRICS for plot in PLOTS.values())


def test_what_experiments_expect_has_a_plot_that_shows_it():
    expected = {one.metric for experiment in catalogue() for one in experiment.expect}
    without = [name for name in PLOTS if name != "sweep"]  # that shows whatever is swept
    not_drawn = {metric for metric in expected if main_plot([metric], without) is None}
    assert not_drawn == {"bytes.per_request", "cpu.clients_us_per_request", "cpu.proxy_us_per_request"}


def test_the_first_metric_that_a_plot_shows_decides():
    names = ["latency", "clients_on_replicas", "share_per_replica"]
    assert main_plot(["spread.max_over_mean", "latency_ms.p99"], names) == "clients_on_replicas"
    assert main_plot(["planned_rate_per_s", "latency_ms.p99"], names) == "latency"
    assert main_plot([], names) is None
