"""`history`: all runs of an experiment over time, with machines and versions."""

import math
from pathlib import Path
from typing import Any

import pytest

from harness.cli.main import main
from harness.errors import UserError
from harness.metrics.registry import CAPACITY, METRICS
from harness.record.manifest import MANIFEST, Host, Manifest
from harness.record.record_file import read_record, write_record
from harness.record.summary import SUMMARY, ArmSearch, SearchSummary, Summary
from harness.report.history import History, history_of, metrics_to_show
from harness.report.history_plot import history_svg
from tests.unit.synthetic import stories

HERE = Host(system="Linux 6", machine="x86_64", cpus=2, memory_bytes=2**33)
THERE = Host(system="Linux 5", machine="aarch64", cpus=None, memory_bytes=2**34)


def store(results: Path, day: int, summary: Summary | None, **fields: Any) -> Path:
    """Write manifest and summary of a run of `sticky` that began on that day."""
    values: dict[str, Any] = {"status": "completed", "host": HERE, "versions": {"python": "3.11"}, **fields}
    manifest = Manifest(
        experiment="sticky", run=f"202611{day:02}T000000Z-aaaaaa", started_utc=f"2026-11-{day:02}T12:34:00Z",
        seed=1, git_commit="abc", cells=[], **values,
    )  # fmt: skip
    folder = results / "sticky" / manifest.run
    folder.mkdir(parents=True)
    write_record(folder / MANIFEST, manifest)
    if summary is not None:
        write_record(folder / SUMMARY, summary)
    return folder


@pytest.fixture
def summary(summaries: Any) -> Summary:
    found: Summary = summaries["golden"]
    return found


@pytest.fixture
def history(summary: Summary, tmp_path: Path) -> History:
    """Four runs to show, in another order than their days, and three that are not shown."""
    store(tmp_path, 3, summary, versions={"python": "3.12", "envoy": "1.40"})
    store(tmp_path, 1, summary)
    store(tmp_path, 2, summary, host=THERE)
    store(tmp_path, 4, summary)
    store(tmp_path, 5, summary, status="interrupted")
    store(tmp_path, 6, None)
    changes = {"overrides": {"workload.skew": 0}, "changes": ["--skew 0 instead of 1"]}
    store(tmp_path, 7, summary, **changes)
    return history_of(tmp_path, "sticky")


@pytest.mark.parametrize("story", ["golden", *list(stories.BY_NAME)[:3]])
def test_a_summary_is_read_as_it_was_written(story: str, summaries: Any, tmp_path: Path) -> None:
    """What is infinity is read as null; `at_least` says of which metrics."""
    summary = summaries[story]
    write_record(tmp_path / SUMMARY, summary)
    found = read_record(tmp_path / SUMMARY, Summary)
    assert found.model_dump_json() == summary.model_dump_json()
    for arm, measured in summary.arms.items():
        finite = {name: None if value == math.inf else value for name, value in measured.metrics.items()}
        assert found.arms[arm].metrics == finite


def test_runs_come_in_the_order_of_time_with_machine_and_versions(history: History) -> None:
    assert [past.run.manifest.started_utc[8:10] for past in history.runs] == ["01", "02", "03", "04"]
    assert [past.where for past in history.runs] == ["A1", "B1", "A2", "A1"]
    assert history.machines == {
        "A": "Linux 6, x86_64, 2 CPUs, 8.0 GiB",
        "B": "Linux 5, aarch64, an unknown number of CPUs, 16.0 GiB",
    }
    assert history.versions == {1: "python 3.11, commit abc", 2: "python 3.12, envoy 1.40"}


def test_what_is_not_shown_is_named(history: History) -> None:
    changed, missing = sorted(history.left_out, key=lambda line: "summary.json" in line)
    assert "asks another question: --skew 0 instead of 1" in changed
    assert "summary.json" in missing


def test_another_testbed_is_another_machine(summary: Summary, tmp_path: Path) -> None:
    store(tmp_path, 1, summary)
    store(tmp_path, 2, summary, testbed="simulated")
    found = history_of(tmp_path, "sticky")
    assert [past.where for past in found.runs] == ["A1", "B1"]
    assert found.machines["B"].endswith(", testbed simulated")


def test_the_figures_are_those_of_the_summaries(history: History, summary: Summary) -> None:
    past = history.runs[0]
    for arm, measured in summary.arms.items():
        for metric in METRICS:
            value = measured.requests if metric == "requests" else measured.metrics.get(metric)
            assert past.median(arm, metric) == (None if value == math.inf else value)
            assert len(past.values(arm, metric)) <= len(measured.repeats)


def test_an_event_has_its_own_figures(summaries: Any, tmp_path: Path) -> None:
    killed: Summary = summaries["killed"]
    store(tmp_path, 1, killed)
    history = history_of(tmp_path, "sticky")
    (past,) = history.runs
    for arm, measured in killed.arms.items():
        for name, value in [one for event in measured.events[:1] for one in event.metrics.items()]:
            metric = f"event1.{name}"
            assert past.median(arm, metric) == (None if value == math.inf else value)
            assert len(past.values(arm, metric)) <= len(measured.repeats)
            assert past.figure(arm, metric) != ""
        assert past.median(arm, "event6.target_share") is None
        assert past.figure(arm, "event6.target_share") == ""
    assert any(past.values(arm, "event1.target_share") for arm in killed.arms)
    assert "event1.target_share" in history_svg(history, ["event1.target_share"])


def test_a_search_has_its_capacities(summary: Summary, tmp_path: Path) -> None:
    ends = {"low": 100.0, "high": 120.0, "capacity_per_s": 110.0}
    one = ArmSearch(**ends, repeats=[], contradictions=[])
    none = ArmSearch(low=None, high=None, capacity_per_s=None, repeats=[], contradictions=[])
    search = SearchSummary(
        **{
            "factor": "rate_per_s",
            "metric": "latency_ms.p99",
            "bound": 100,
            "condition": "p99",
            "within": 0.1,
        },
        arms={"one": one, "none": none},
    )
    store(tmp_path, 1, summary.model_copy(update={"search": search}))
    history = history_of(tmp_path, "sticky")
    (past,) = history.runs
    assert history.arms(CAPACITY) == ["one", "none"]
    assert (past.median("one", CAPACITY), past.values("one", CAPACITY)) == (110, [100, 120])
    assert [past.figure(arm, CAPACITY) for arm in history.arms(CAPACITY)] == ["110 requests/s", "not found"]
    assert past.values("none", CAPACITY) == []
    assert CAPACITY in history_svg(history, [CAPACITY])


def test_the_metrics_are_the_expected_ones_or_those_asked_for(history: History) -> None:
    expected = [finding.metric for finding in history.runs[-1].summary.expectations]
    assert metrics_to_show(history, []) == list(dict.fromkeys(expected))
    assert metrics_to_show(history, ["error_share"]) == ["error_share"]
    with pytest.raises(UserError, match="--metric: 'eror_share' is no metric; did you mean 'error_share'"):
        metrics_to_show(history, ["eror_share"])


def test_the_plot_has_every_arm_metric_and_run(history: History) -> None:
    svg = history_svg(history, ["spread.max_over_mean", "latency_ms.p99"])
    arms = history.arms("latency_ms.p99")
    for text in ("spread.max_over_mean", "latency_ms.p99", *arms, "2026-11-01 12:34  A1", "B1"):
        assert text in svg
    assert svg == history_svg(history, ["spread.max_over_mean", "latency_ms.p99"])


def test_the_command_prints_table_machines_and_versions(
    history: History, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    words = ["history", "sticky", "--results", str(tmp_path), "--metric", "error_share"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "error_share: " in out
    assert next(line.split()[:3] for line in out.splitlines() if line.startswith(" 2026")) == [
        *("2026-11-01", "12:34", "A1"),
    ]
    for line in ("machine B: Linux 5", "versions 2: python 3.12", "left out: "):
        assert f"\n{line}" in out
    assert (tmp_path / "sticky" / "history.svg").read_text().startswith("<?xml")
    assert main([*words, "--svg", str(tmp_path / "sticky" / "history.svg")]) == 2
    assert "is there already" in capsys.readouterr().err


def test_no_run_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "sticky", "--results", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "no finished run of sticky with its own question" in err
    assert err.count("\n") == 1
