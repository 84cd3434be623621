"""Plots of events: drawn if there are events, and they show what was recorded."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from harness.analysis.window_series import MAX_SESSIONS, window_series_of
from harness.events.registry import EVENT_KINDS
from harness.metrics.facts import RateEffects
from harness.metrics.metric import MAX_STEPS
from harness.report.event_tables import lasts_until_s
from harness.report.plots import PLOTS
from harness.report.plots_events import ribbon_colours
from harness.report.plotting import REPLICA_COLOURS
from tests.unit.synthetic.handwritten_cell import MS

pytestmark = pytest.mark.whole_run

OF_EVENTS = ("over_time", "session_ribbon", "recovery")


def first(told, story, arm):
    return told[story].facts[arm][0]


def dashed_at(axes):
    """Return the positions of the vertical lines of events."""
    return sorted(
        {
            line.get_xdata()[0]
            for line in axes.lines
            if len(set(line.get_xdata())) == 1 and len(line.get_xdata()) == 2
        }
    )


@pytest.mark.parametrize("name", OF_EVENTS)
def test_only_where_something_was_changed(told, name):
    assert not PLOTS[name].applies(told["golden"])
    assert PLOTS[name].applies(told["killed"])


def test_the_planned_rate_is_drawn_where_it_changes(told):
    data = told["killed"]
    arm, cell = next(iter(data.first_cells().items()))
    rates = np.linspace(50, 500, len(cell.series.good))
    changed = replace(cell, rate=RateEffects(rates, cell.series.width_s, None, None, None))
    figure = PLOTS["over_time"].draw(replace(data, facts={arm: [changed]}))
    panel = figure.axes[0]
    planned = next(patch for patch in panel.patches if patch.get_label() == "planned")
    assert planned.get_data().values.tolist() == rates.tolist()
    assert panel.get_ylim()[1] >= 500
    calm = replace(changed, events=(), series=cell.series)
    assert PLOTS["over_time"].applies(replace(data, facts={arm: [calm]}))
    assert not PLOTS["session_ribbon"].applies(replace(data, facts={arm: [calm]}))


def test_a_run_without_events_gathers_no_course(told):
    assert all(cell.series is None for cells in told["golden"].facts.values() for cell in cells)


@pytest.mark.parametrize("name", ["over_time", "session_ribbon", "share_over_time"])
def test_every_event_has_a_line_and_a_name(told, name):
    data = told["killed"]
    panels = {axes.get_title(): axes for axes in PLOTS[name].draw(data).axes}
    for arm, names in {
        "sticky": {"kill replica-1", "start replica-1"},
        "grows": {"add replica-4"},
        "calm": set(),
    }.items():
        events = first(told, "killed", arm).events
        assert dashed_at(panels[arm]) == [event.at_s for event in events]
        assert {text.get_text() for text in panels[arm].texts} == names


def test_what_lasted_is_shaded_until_it_was_undone(told):
    axes = {axes.get_title(): axes for axes in PLOTS["share_over_time"].draw(told["killed"]).axes}
    kill, start = first(told, "killed", "sticky").events
    (shade,) = axes["sticky"].patches
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == pytest.approx((kill.at_s, start.at_s))
    assert not axes["grows"].patches
    assert not axes["calm"].patches


def test_the_fair_share_goes_by_the_replicas_that_are_there(told):
    axes = {axes.get_title(): axes for axes in PLOTS["share_over_time"].draw(told["killed"]).axes}
    fair = {
        arm: next(line for line in panel.lines if line.get_label() == "fair share").get_ydata()
        for arm, panel in axes.items()
    }
    assert list(fair["grows"]) == [25, 20, 20]
    assert list(fair["sticky"]) == pytest.approx([25, 100 / 3, 25, 25])
    assert list(fair["calm"]) == [25, 25]
    rolled, _ = first(told, "rolled", "sticky").events
    assert rolled.present == 4


def test_the_turns_of_a_roll_are_told(told):
    axes = PLOTS["session_ribbon"].draw(told["rolled"]).axes[0]
    texts = "\n".join(text.get_text() for text in axes.texts)
    for words in ("roll 4 replicas", "replica-0", "replica-1", "replica-2", "replica-3"):
        assert words in texts
    roll, restart = first(told, "rolled", "sticky").events
    drained = {at_s for at_s, do, _ in roll.steps if do == "drain"}
    assert set(dashed_at(axes)) == {roll.at_s, *drained, restart.at_s}


def test_many_arms_have_numbers_and_a_legend_of_them(told):
    for name in OF_EVENTS[:2]:
        figure = PLOTS[name].draw(told["stormy"])
        assert {text.get_text() for text in figure.axes[0].texts} >= {"1,2", "7"}
        words = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
        assert "1: kill replica-1" in words
        assert "7: add replica-4" in words


def test_bars_over_time_add_up_to_the_requests(told):
    cell = first(told, "killed", "sticky")
    series = cell.series
    assert series.good.sum() + series.failed.sum() == cell.requests
    assert series.failed.sum() == sum(cell.errors.values())
    good, failed = PLOTS["over_time"].draw(told["killed"]).axes[0].patches[:2]
    assert good.get_data().values == pytest.approx(series.good / series.width_s)
    assert failed.get_data().baseline == pytest.approx(good.get_data().values)
    assert failed.get_data().values - good.get_data().values == pytest.approx(series.failed / series.width_s)


def test_recovery_puts_each_event_of_each_arm_at_its_figures(told):
    data = told["killed"]
    for axes, metric in zip(
        PLOTS["recovery"].draw(data).axes,
        ("failed_requests", "longest_gap_ms", "moved_over_needed"),
        strict=True,
    ):
        for number, bars in enumerate(axes.containers, start=1):
            line = bars.lines[0]
            found = {arm: data.values(arm, f"event{number}.{metric}") for arm in data.arms}
            expected = [np.median(values) for values in found.values() if len(values)]
            assert list(line.get_xdata()) == pytest.approx(expected)
        labels = [bars.get_label() for bars in axes.containers]
        assert labels == ["1: kill replica-1 or add replica-4", "2: start replica-1"]


def test_a_ribbon_is_coloured_by_who_answered(told):
    series = first(told, "killed", "calm").series
    colours = ribbon_colours(series)
    assert len(series.sessions) == 20
    for row, replicas in enumerate(series.replicas):
        (replica,) = {int(place) for place in replicas if place >= 0}  # a sticky arm without events
        answered = replicas >= 0
        assert np.allclose(colours[row][answered], to_rgb(REPLICA_COLOURS[replica]))
        begin, end = np.flatnonzero(answered)[[0, -1]]
        assert (colours[row, :begin] == 1).all()
        assert (colours[row, end + 1 :] == 1).all()
        between = ~answered[begin:end]
        assert (colours[row, begin:end][between] != 1).any(axis=-1).all()
    order = [next(int(place) for place in replicas if place >= 0) for replicas in series.replicas]
    assert order == sorted(order)


def test_a_ribbon_marks_what_failed(told):
    axes = PLOTS["session_ribbon"].draw(told["killed"]).axes[0]
    series = first(told, "killed", "sticky").series
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert {len(line.get_xdata()) for line in crosses} == {int((series.failures > 0).sum())}
    assert (series.failures > 0).any()


def test_however_many_sessions_rows_and_steps_are_bounded(told):
    cell = first(told, "crowded", "round_robin")
    assert cell.series is None
    import polars as pl

    rows = pl.DataFrame(
        {
            "client": range(500),
            "session": 0,
            "request_id": [client * 10**9 for client in range(500)],
            "replica": pl.Series([client % 4 for client in range(500)], dtype=pl.UInt16),
            "ok": True,
            "at_ns": [client * MS for client in range(500)],
            "latency_ns": MS,
        }
    )
    series = window_series_of(rows, 60.0)
    assert series.replicas.shape[0] == MAX_SESSIONS
    assert series.replicas.shape[1] <= MAX_STEPS
    assert series.sessions[0] == (0, 0)  # the lower numbers among equals
    assert max(series.sessions) == (MAX_SESSIONS - 1, 0)


@pytest.mark.parametrize(
    ("do", "targets", "words"),
    [
        ("kill", ["replica-1"], "kill replica-1"),
        ("not_serving", ["replica-0", "replica-1"], "not serving 2 replicas"),
        ("proxy_restart", ["envoy"], "proxy restart"),
    ],
)
def test_an_event_in_words(do, targets, words):
    assert EVENT_KINDS[do].label(targets) == words


def test_how_long_events_last(told):
    storm = first(told, "stormy", "settings_of_the_client_0").events
    until = {event.number: lasts_until_s(event, storm, 1.0) for event in storm}
    at = {event.number: event.at_s for event in storm}
    assert until == {
        1: at[3],
        2: at[6],
        3: None,
        4: at[5],
        5: None,
        6: None,
        7: None,
    }


def test_what_is_not_undone_lasts_to_the_end(told):
    roll, _ = first(told, "rolled", "sticky").events
    assert lasts_until_s(roll, [roll], 1.0) == pytest.approx(roll.at_s + roll.took_effect_ns / 1e9)
    kill, _ = first(told, "killed", "sticky").events
    assert lasts_until_s(kill, [kill], 1.0) == 1.0
    assert first(told, "killed", "sticky").series is not None
