"""Percentiles of too few requests are dashes, and what was planned and did not come is said."""

from io import StringIO

import pytest
from rich.console import Console

from harness.analysis.summary import facts_of, summarise
from harness.record.run_directory import read_run
from harness.report.page import render_report
from harness.report.plots import PLOTS
from harness.report.plotting import PlotData
from harness.report.tables import (
    ABSENT,
    generator_table,
    latency_table,
    units_table,
    unsent_lines,
)
from harness.report.terminal import print_summary
from tests.unit.synthetic import stories
from tests.unit.synthetic.synthetic_run import synthesise_run

pytestmark = pytest.mark.whole_run


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """Cells of some 120 requests: enough for p95, too few for p99 and p99.9."""
    return read_run(synthesise_run(tmp_path_factory.mktemp("few"), requests=120))


@pytest.fixture
def summary(golden):
    return summarise(golden)


def terminal_of(summary):
    out = StringIO()
    print_summary(summary, Console(file=out, width=120))
    return out.getvalue()


def test_the_table_of_latencies_has_dashes_and_says_how_many_it_takes(summary):
    table = latency_table(summary.arms)
    assert table.head == ["Milliseconds", "p50", "p90", "p95", "p99", "p99.9", "max"]
    for row in table.rows:
        assert (row[4], row[5]) == (ABSENT, ABSENT)
    assert all(ABSENT not in (*row[1:4], row[6]) for row in table.rows if "message" not in row[0])
    assert "6 for p50, 29 for p90, 59 for p95, 299 for p99, 2,995 for p99.9" in table.caption


def test_the_terminal_has_dashes(summary):
    of_all, of_ok = (line for line in terminal_of(summary).splitlines() if "p99 ms" in line)
    for line in (of_all, of_ok):
        assert line.count(ABSENT) == 2
        assert "not measured" not in line


def test_the_plot_of_latencies_leaves_them_out(golden):
    data = PlotData.of(golden.experiment, facts_of(golden))
    for axes in PLOTS["latency"].draw(data).axes:
        assert [label.get_text() for label in axes.get_xticklabels()] == ["50", "90", "95", "max"]
        assert all(len(bars.lines[0].get_xdata()) == 4 for bars in axes.containers)


@pytest.mark.parametrize("arms", [2, 8])
def test_an_arm_with_too_few_requests_has_a_gap(tmp_path, arms):
    named = {f"arm_{n}": "route: direct, policy: round_robin" for n in range(arms)}
    run = read_run(synthesise_run(tmp_path, stories.experiment(named), requests=330))
    facts = facts_of(run)
    (cell,) = facts["arm_0"]
    for percentiles in (cell.latency.of_all_ns, cell.latency.of_ok_ns):
        percentiles.pop("p99", None)
    planned, *_ = PLOTS["latency"].draw(PlotData.of(run.experiment, facts)).axes
    if arms == 2:
        first, second = (bars.lines[0].get_ydata() for bars in planned.containers)
        assert [value != value for value in first] == [False, False, False, True, False]
        assert not any(value != value for value in second)
    else:
        p99 = next(bars for bars in planned.containers if bars.get_label() == "99 %")
        assert [value != value for value in p99.lines[0].get_xdata()] == [True, *[False] * 7]


def test_what_was_never_sent_is_said_in_the_terminal_and_the_report(golden, summary):
    assert unsent_lines(summary) == []
    assert "never sent" not in generator_table(summary.arms).head
    for repeat, unsent in zip(summary.arms["sticky"].repeats, (227, 1000), strict=False):
        repeat.metrics["unsent_requests"] = unsent
    summary.arms["sticky"].metrics["unsent_requests"] = 613.5
    planned = summary.arms["sticky"].requests + 1227
    line = f"sticky: 1,227 of {planned:,} planned requests were never sent"
    assert unsent_lines(summary) == [line]
    assert f"not sent     {line}" in terminal_of(summary)
    assert line in render_report(golden, summary, {})
    table = generator_table(summary.arms)
    assert [(row[0], row[table.head.index("never sent")]) for row in table.rows] == [
        ("sticky", "613.5"),
        ("round_robin", "0"),
    ]


def test_missing_messages_stand_beside_the_streams(summary):
    summary.arms["sticky"].metrics["stream.missing_messages"] = 12
    table = units_table(summary.arms)
    assert [row[table.head.index("missing messages")] for row in table.rows] == ["12", "0"]
