"""harness.open_run: the tables of a run have the documented columns and the figures of the summary."""

import polars as pl
import pytest

import harness
from harness.analysis import run_tables
from harness.analysis.summary import summarise
from harness.errors import UserError
from harness.metrics.registry import METRICS
from harness.record.run_directory import read_run

pytestmark = pytest.mark.whole_run

STORIES = ("golden", "cached", "killed")
TABLES = {
    "requests": run_tables.REQUESTS,
    "messages": run_tables.MESSAGES,
    "events": run_tables.EVENTS,
    "metrics": run_tables.METRIC_VALUES,
}


@pytest.fixture(scope="module", params=STORIES)
def opened(request, runs):
    return harness.open_run(str(runs[request.param]))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_the_declared_columns_with_their_types(opened, name):
    table = getattr(opened, name)
    assert table.columns == list(TABLES[name])
    assert table.schema == {column: run_tables._TYPES[one.kind] for column, one in TABLES[name].items()}
    assert table.select("arm", "repeat").null_count().row(0) == (0, 0)


def test_a_notebook_shows_a_run_in_one_line(opened):
    shown = repr(opened)
    assert shown.startswith(f"<run of {opened.run.name}, ")
    assert all(name in shown for name in TABLES)
    assert len(shown) < 120


def test_requests_are_those_of_the_clients_ledgers(opened):
    counted = {key: len(rows) for key, rows in opened.requests.group_by("arm", "repeat")}
    assert counted == {
        (cell.record.arm, cell.record.repeat): cell.requests().collect().height for cell in opened.run.cells
    }


def test_metrics_are_those_of_the_summary(runs, summaries):
    metrics = harness.open_run(runs["golden"]).metrics
    assert set(metrics["metric"]) == set(METRICS)
    summary = summaries["golden"]
    for name in ("spread.max_over_mean", "latency_ms.p50", "affinity.purity"):
        for arm, figures in summary.arms.items():
            found = metrics.filter(arm=arm, metric=name).sort("repeat")["value"].to_list()
            assert found == pytest.approx([repeat.metrics[name] for repeat in figures.repeats])


def test_messages_and_events_are_there_where_there_were_some(runs):
    assert harness.open_run(runs["cached"]).messages.height > 0
    assert harness.open_run(runs["killed"]).messages.height == 0
    events = harness.open_run(runs["killed"]).events
    assert set(events["do"]) == {"kill", "start", "add"}
    assert set(events.filter(pl.col("do") == "kill")["targets"]) == {"replica-1"}
    assert (events["seen_at_ns"].drop_nulls() >= 0).all()
    assert harness.open_run(runs["golden"]).events.height == 0


def test_what_is_no_run_is_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match="not a run directory"):
        harness.open_run(tmp_path)


def test_nothing_is_written(runs):
    before = sorted(runs["golden"].rglob("*"))
    assert harness.open_run(runs["golden"]).requests.height
    assert sorted(runs["golden"].rglob("*")) == before
    assert summarise(read_run(runs["golden"])).verdict
