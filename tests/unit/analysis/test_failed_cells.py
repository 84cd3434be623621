"""Cells in which every request failed: found, and told first with the most frequent code and message."""

import io
import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from harness.analysis.summary import summarise
from harness.output.safe_console import SafeConsole
from harness.record.run_directory import read_run
from harness.record.summary import FailedArm, Summary
from harness.report.page import render_report
from harness.report.terminal import print_summary
from tests.unit.synthetic.synthetic_run import GOLDEN

pytestmark = pytest.mark.whole_run

REFUSED = {"code": "UNAVAILABLE", "message": "Connection refused", "calls": 7}
LIMIT = {"code": "UNAVAILABLE", "message": "Too many open files", "calls": 90}


def fail(run: Path, cell: str, *failures: dict[str, object], share: float = 1.0) -> None:
    """Let the first `share` of the cell's requests fail."""
    folder = run / "cells" / cell
    rows = pl.read_parquet(folder / "requests.parquet")
    failed = pl.int_range(pl.len()) < share * rows.height
    rows = rows.with_columns(pl.when(failed).then(pl.lit("UNAVAILABLE")).otherwise("code").alias("code"))
    rows.write_parquet(folder / "requests.parquet")
    record = json.loads((folder / "cell.json").read_text())
    (folder / "cell.json").write_text(json.dumps(record | {"failures": failures}))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return shutil.copytree(GOLDEN, tmp_path / "run")


def summary_of(run: Path) -> Summary:
    return summarise(read_run(run))


def printed(summary: Summary) -> list[str]:
    console = SafeConsole(file=io.StringIO(), width=80)
    print_summary(summary, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_the_most_frequent_reason_of_all_such_cells(run: Path) -> None:
    fail(run, "sticky.1", REFUSED)
    fail(run, "sticky.2", LIMIT, REFUSED)
    summary = summary_of(run)
    (failed,) = summary.failed_arms
    requests = sum(cell.requests for cell in summary.arms["sticky"].repeats[:2])
    assert failed == FailedArm(
        arm="sticky", repeats=[1, 2], requests=requests, code="UNAVAILABLE", message="Too many open files"
    )
    which = f"all {requests:,} requests of repeat 1, 2"
    line = f"sticky: {which} failed, most often UNAVAILABLE: Too many open files"
    assert printed(summary)[0] == line
    page = render_report(read_run(run), summary, {})
    assert page.index(line) < page.index("Verdict: ")


def test_a_request_that_did_not_fail_is_enough(run: Path) -> None:
    fail(run, "sticky.1", REFUSED, share=0.99)
    summary = summary_of(run)
    assert summary.failed_arms == []
    assert "failed" not in printed(summary)[0]
    assert "Every request failed" not in render_report(read_run(run), summary, {})


def test_without_messages_the_code_is_told(run: Path) -> None:
    for repeat in (1, 2, 3):
        fail(run, f"round_robin.{repeat}")
    summary = summary_of(run)
    requests = summary.arms["round_robin"].requests
    assert printed(summary)[0] == f"round_robin: all {requests:,} requests failed, most often UNAVAILABLE"
