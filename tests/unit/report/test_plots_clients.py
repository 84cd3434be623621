"""The plot of which clients make a replica busy."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.axes import Axes

from harness.analysis.summary import facts_of
from harness.metrics.facts import CellFacts
from harness.record.run_directory import read_run
from harness.report.plots import PLOTS
from harness.report.plots_clients import MAX_NAMED
from harness.report.plotting import PlotData
from tests.unit.synthetic import stories
from tests.unit.synthetic.synthetic_run import synthesise_run

pytestmark = pytest.mark.whole_run

PLOT = PLOTS["clients_on_replicas"]


def panels(data: PlotData) -> dict[str, Axes]:
    return {axes.get_title(): axes for axes in PLOT.draw(data).axes}


def tops(axes: Axes) -> list[float]:
    """Return the height of each bar, from left to right."""
    heights: dict[float, float] = {}
    for part in axes.patches:
        middle = part.get_x() + part.get_width() / 2
        heights[middle] = max(heights.get(middle, 0.0), part.get_y() + part.get_height())
    return [heights[place] for place in sorted(heights)]


def stacked(cell: CellFacts) -> list[float]:
    """Return requests/s of each replica, the busiest first."""
    return sorted((count / cell.window_s for count in cell.replica_requests.values()), reverse=True)


def test_a_bar_is_a_replica_of_one_repeat_and_its_parts_add_up(told: Mapping[str, PlotData]) -> None:
    data = told["golden"]
    for arm, axes in panels(data).items():
        assert tops(axes) == pytest.approx(stacked(data.facts[arm][0]))


def test_parts_are_the_clients_with_most_requests_and_all_others(told: Mapping[str, PlotData]) -> None:
    data = told["golden"]
    cell = data.facts["sticky"][0]
    axes = panels(data)["sticky"]
    busiest = max(cell.client_requests, key=lambda client: sum(cell.client_requests[client]))
    height = max(part.get_height() for part in axes.patches)
    assert height == pytest.approx(sum(cell.client_requests[busiest]) / cell.window_s)
    assert str(busiest) in {text.get_text() for text in axes.texts}
    words = [text.get_text() for text in PLOT.draw(data).legends[0].get_texts()]
    assert words[0] == f"client {busiest}"
    assert len([word for word in words if word.startswith("client ")]) == MAX_NAMED
    assert words[-2] == "all other clients"


def busy(tmp_path: Path, requests: int = 300, **more: str) -> PlotData:
    """A run of so many requests/s: with 300 of them bars come near to the 200/s of a replica."""
    text = stories.experiment({"sticky": "route: envoy, policy: sticky"}, **more)  # type: ignore[arg-type]
    run = read_run(synthesise_run(tmp_path, text, requests=requests))
    return PlotData.of(run.experiment, facts_of(run))


def legend(data: PlotData) -> list[str]:
    return [text.get_text() for text in PLOT.draw(data).legends[0].get_texts()]


def test_the_line_is_what_the_replica_can_serve(tmp_path: Path) -> None:
    """Two slots and 10 ms are 200 calls/s, and one slot is 100."""
    data = busy(tmp_path, replicas=", different: {replica-0: {slots: 1}}")
    axes = panels(data)["sticky"]
    found = sorted(line.get_segments()[0][0][1] for line in axes.collections)
    assert found == [100, 200, 200, 200]
    assert legend(data)[-1] == "what the replica can serve"


def test_a_line_that_would_squeeze_the_bars_is_told_instead(tmp_path: Path) -> None:
    """100 requests/s, of which one replica gets some 40: 200/s is five times as high."""
    data = busy(tmp_path, requests=100)
    axes = panels(data)["sticky"]
    assert not axes.collections
    assert axes.get_ylim()[1] < 100
    assert legend(data)[-1] == "above the plot: what a replica can serve (200/s or more)"


def test_replicas_that_are_the_users_own_have_no_line(tmp_path: Path) -> None:
    data = busy(tmp_path)
    assert panels(data)["sticky"].collections
    unread = {arm: [replace(cell, replica_attempts=None) for cell in data.facts[arm]] for arm in data.arms}
    foreign = PlotData(data.experiment, unread)
    assert all(not axes.collections for axes in panels(foreign).values())
    assert "can serve" not in str(legend(foreign))


def test_it_is_drawn_where_clients_stay_and_make_a_replica_busy(told: Mapping[str, PlotData]) -> None:
    assert PLOT.applies(told["golden"])
    assert not PLOT.applies(told["lonely"])  # one replica
    assert not PLOT.applies(told["crowded"])  # too many
    golden = told["golden"]
    even = PlotData(golden.experiment, {"round_robin": golden.facts["round_robin"]})
    assert not PLOT.applies(even)
