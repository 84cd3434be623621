"""Overrides that change the question are said everywhere, and no expectation is judged."""

import json
import shutil
from io import StringIO

import pytest
from rich.console import Console

from harness.analysis.summary import summarise
from harness.record.run_directory import read_run
from harness.report.finding import finding_of
from harness.report.page import render_report
from harness.report.terminal import print_summary
from harness.spec.experiment import changes_of_question, load_experiment
from tests.unit.synthetic.synthetic_run import GOLDEN

pytestmark = pytest.mark.whole_run

CHANGE = "--skew 0 instead of 1"


@pytest.fixture
def changed(tmp_path):
    run = shutil.copytree(GOLDEN, tmp_path / "run")
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"changes": [CHANGE]}))
    return read_run(run)


@pytest.mark.parametrize(
    ("overrides", "changes"),
    [
        ({"workload.skew": 0.0}, (CHANGE,)),
        ({"workload.clients": 120, "repeats": 1}, ("--clients 120 instead of 12",)),
        (
            {"replicas.count": 8, "workload.rate_per_s": 60},
            ("--replicas 8 instead of 4", "--rate 60 instead of 600"),
        ),
        ({"workload.rate_per_s": 600.0, "workload.skew": 1}, ()),
        ({"seed": 7, "repeats": 9, "workload.duration_s": 1, "workload.warm_up_s": 0}, ()),
    ],
)
def test_what_changes_the_question(overrides, changes):
    assert changes_of_question(load_experiment("sticky"), overrides) == changes


def test_terminal_and_page_say_so_and_give_no_verdict(changed):
    summary = summarise(changed)
    assert (summary.verdict, summary.changes) == ("measured", [CHANGE])
    assert finding_of(summary).text.startswith(f"Changed: {CHANGE}. With sticky, ")
    out = StringIO()
    print_summary(summary, Console(file=out, width=80))
    html = render_report(changed, summary, {})
    for text in (" ".join(out.getvalue().split()), html):
        assert "not judged" in text
        assert f"another question ({CHANGE})" in text
        assert "refuted" not in text.replace("--refuted", "").replace(".refuted", "")
    assert f"({len(summary.expectations)} not judged)" in html
