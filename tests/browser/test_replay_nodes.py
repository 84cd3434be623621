"""The nodes of a proxy on the replay: they come, end and return when their events say so."""

from pathlib import Path

import pytest

from harness.analysis.summary import summarise
from harness.record.run_directory import read_run
from harness.report.page import render_report
from tests.browser.report_page import QUANTA_PER_S, OpenReport
from tests.unit.synthetic import stories
from tests.unit.synthetic.handwritten_cell import MS, asked, took_effect, write_events
from tests.unit.synthetic.synthetic_run import synthesise_run

STORY = stories.experiment({"spread": "route: envoy, policy: random, proxies: 3, zones: {a: 2, b: 2}"})


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on three nodes, of which one is killed for a time and one is added."""
    run_dir = synthesise_run(tmp_path_factory.mktemp("nodes"), STORY, requests=150)
    for cell in read_run(run_dir).cells:
        start_ms = cell.record.measure_start_ns / MS
        lines = [
            asked(1, start_ms + 200, "proxy_kill", "envoy-1"),
            took_effect(1, start_ms + 210, "envoy-1"),
            asked(2, start_ms + 400, "proxy_start", "envoy-1", undoes=1),
            took_effect(2, start_ms + 450, "envoy-1"),
            asked(3, start_ms + 600, "proxy_add", "envoy-2"),
            took_effect(3, start_ms + 650, "envoy-2"),
        ]
        write_events(cell.folder, lines)
    run = read_run(run_dir)
    path = run_dir / "report.html"
    path.write_text(render_report(run, summarise(run), {}), encoding="utf-8")
    return path


def test_a_node_is_there_from_its_start_to_its_end(report: Path, open_report: OpenReport) -> None:
    page = open_report(report)
    pictures = {}
    for at_s, away in {
        0.1: "Not there yet: envoy-2.",
        0.3: "Not running: envoy-1. Not there yet: envoy-2.",
        0.43: "Not running: envoy-1. Not there yet: envoy-2.",  # asked for, not yet ready
        0.5: "Not there yet: envoy-2.",
        0.7: "",
    }.items():
        page.scrub(round(at_s * QUANTA_PER_S))
        (words,) = page.sentences()
        assert words.endswith(away or "."), at_s
        assert ("Not" in words) == bool(away), at_s
        pictures[at_s] = page.nodes_drawn()
    assert pictures == {
        0.1: "envoy-0, zone a|envoy-1, zone b|envoy-2: not there yet",
        0.3: "envoy-0, zone a|envoy-1: kill|envoy-2: not there yet",
        0.43: "envoy-0, zone a|envoy-1: not there|envoy-2: not there yet",
        0.5: "envoy-0, zone a|envoy-1, zone b|envoy-2: not there yet",
        0.7: "envoy-0, zone a|envoy-1, zone b|envoy-2, zone a",
    }
