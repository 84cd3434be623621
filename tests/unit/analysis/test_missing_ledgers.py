"""Missing ledgers are unknown, not empty. Ledgers that exist are compared with each other."""

import json
import shutil
from io import StringIO

import pytest
from rich.console import Console

from harness.analysis.facts import collect_facts
from harness.analysis.ledgers import reconcile
from harness.analysis.summary import facts_of, summarise
from harness.analysis.validity import measure
from harness.record.run_directory import read_run
from harness.report.page import render_report
from harness.report.plots import PLOTS
from harness.report.plotting import PlotData
from harness.report.terminal import print_summary
from tests.unit.analysis.test_ledgers import REPLICA, ROWS
from tests.unit.synthetic.edited_run import edit, seal_again
from tests.unit.synthetic.handwritten_cell import row, write_cell
from tests.unit.synthetic.synthetic_run import GOLDEN

pytestmark = pytest.mark.whole_run

NO_ENVOY = {"envoy": "the proxy is not the lab's"}
NO_REPLICA = {"replica": "no --replica was named"}
NEITHER = NO_ENVOY | NO_REPLICA


def cell_without(folder, lacking, rows=ROWS, replica=REPLICA, **info):
    """Return a cell behind a proxy, without the ledgers `lacking`."""
    cell = write_cell(folder, rows, replica=replica, missing_ledgers=lacking, **info)
    if "envoy" in lacking:
        (folder / "access.log").unlink()
    for path in folder.glob("replica-*.csv") if "replica" in lacking else ():
        path.unlink()
    return cell


@pytest.mark.parametrize("attempts", [1, 3])
def test_the_replicas_ledgers_alone_reconcile(tmp_path, attempts):
    ledgers = reconcile(cell_without(tmp_path, NO_ENVOY, max_attempts=attempts))
    assert (ledgers.client, ledgers.envoy, ledgers.replica, ledgers.matched) == (3, None, 3, 3)
    assert (ledgers.only_client, ledgers.only_envoy, ledgers.only_replica) == (0, None, 0)
    assert ledgers.reconciled is True


@pytest.mark.parametrize("attempts", [1, 3])
def test_the_proxys_ledger_alone_reconciles(tmp_path, attempts):
    ledgers = reconcile(cell_without(tmp_path, NO_REPLICA, max_attempts=attempts))
    assert (ledgers.client, ledgers.envoy, ledgers.replica, ledgers.matched) == (3, 3, None, 3)
    assert (ledgers.only_envoy, ledgers.only_replica, ledgers.reconciled) == (0, None, True)


@pytest.mark.parametrize(
    ("rows", "replica", "kind"),
    [
        (ROWS, REPLICA[1:], "only_client"),
        (ROWS[1:], REPLICA, "only_replica"),
        (ROWS, [(0, "replica-1"), *REPLICA[1:]], "disagree"),
        (ROWS, [REPLICA[0], *REPLICA], "disagree"),
        ([row(0, "stranger"), *ROWS[1:]], REPLICA, "disagree"),
    ],
)
def test_a_disagreement_with_the_replicas_is_caught(tmp_path, rows, replica, kind):
    ledgers = reconcile(cell_without(tmp_path, NO_ENVOY, rows, replica))
    assert (getattr(ledgers, kind), ledgers.reconciled) == (1, False)


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_client_alone_is_not_judged(tmp_path, attempts):
    rows = [*ROWS, row(3, "", code="UNAVAILABLE")]
    cell = cell_without(tmp_path, NEITHER, rows, max_attempts=attempts)
    ledgers = reconcile(cell)
    assert (ledgers.client, ledgers.unanswered, ledgers.disagree) == (4, 1, 0)
    unknown = (ledgers.envoy, ledgers.replica, ledgers.matched, ledgers.only_client, ledgers.only_replica)
    assert (set(unknown), ledgers.reconciled) == ({None}, None)
    facts = collect_facts(cell)
    assert facts.answers_lost is None
    assert not [reason for reason in measure(facts).invalid_reasons if "reconcile" in reason.text]


def test_a_request_that_the_client_wrote_twice_is_wrong_all_the_same(tmp_path):
    assert reconcile(cell_without(tmp_path, NEITHER, [ROWS[0], *ROWS])).reconciled is False


@pytest.mark.parametrize(("told", "count"), [("17", 1), ("10.0.0.9:4711", None), ("", None)])
def test_a_proxys_own_connections_are_not_taken_for_the_clients(tmp_path, told, count):
    """Behind a proxy that is not the lab's, a replica sees the proxy's connection."""
    rows = [row(number, "replica-0", connection=told) for number in range(3)]
    assert collect_facts(cell_without(tmp_path, NO_ENVOY, rows)).connections == count
    (tmp_path / "ours").mkdir()
    assert collect_facts(write_cell(tmp_path / "ours", rows)).connections == (1 if told else 0)


@pytest.fixture
def external(tmp_path):
    """Return the folder of a stored run, changed as if the parts were external."""
    run = tmp_path / "run"
    shutil.copytree(GOLDEN, run)
    told = {
        "testbed": "external",
        "testbed_options": ["--target", "lb.example.com:443", "--tls"],
        "notes": ["client was not run: no --replica was named"],
        "not_judged": ["client: spread.cv at most 1"],
    }
    edit(run / "manifest.json", **told)
    for path in run.glob("cells/*/cell.json"):
        edit(path, missing_ledgers=NEITHER)
    for path in [*run.glob("cells/*/proxy.parquet"), *run.glob("cells/*/replicas.parquet")]:
        path.unlink()
    seal_again(run)
    return run


def test_what_is_not_there_is_told(external):
    run = read_run(external)
    facts = facts_of(run)
    summary = summarise(run, facts)
    page = render_report(run, summary, {})
    data = PlotData.of(run.experiment, facts)
    for plot in PLOTS.values():
        if plot.applies(data):
            assert plot.draw(data).axes
    for arm in summary.arms.values():
        ledgers = arm.ledgers
        assert (ledgers.envoy, ledgers.replica, ledgers.reconciled) == (None, None, None)
        assert ledgers.client > 0
        assert arm.metrics["attempts.per_request"] is None
    assert summary.verdict == json.loads((GOLDEN / "summary.json").read_text())["verdict"]
    for words in (
        "Not available: the ledger of the proxy (the proxy is not the lab",
        "not available",
        "not judged",
        "client was not run: no --replica was named",
        "client: spread.cv at most 1",
        "--testbed external --target lb.example.com:443 --tls",
    ):
        assert words in page, words
    out = StringIO()
    print_summary(summary, Console(file=out, width=120))
    told = " ".join(out.getvalue().split())
    assert "not judged client: spread.cv at most 1" in told
    assert "note client was not run: no --replica was named" in told


def test_expectations_that_are_all_left_out_are_inconclusive(external):
    experiment = external / "experiment.yaml"
    head, _, _ = experiment.read_text().partition("expect:")
    experiment.write_text(f"{head}expect: []\n")
    seal_again(external)
    summary = summarise(read_run(external))
    assert (summary.verdict, summary.expectations) == ("inconclusive", [])
    assert summary.invalid_reasons[-1] == (
        "the run: not usable, because every expectation is about an arm that was not run"
    )
    edit(external / "manifest.json", not_judged=[])
    assert summarise(read_run(external)).verdict == "measured"
