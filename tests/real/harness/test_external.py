"""Runs of the testbed `external` against replicas and an Envoy that already run, with and without TLS."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lab_process import ROOT, StartLab, experiment_file

from harness.analysis.summary import facts_of, summarise
from harness.metrics.stages import stages_of
from harness.plan.cells import plan_cells
from harness.plan.run_options import ExternalOptions, LoadOptions, RunOptions
from harness.proxy.tls import TlsFiles, make_certificate
from harness.record.access_log import scan_access_log
from harness.record.run_directory import Run, read_run
from harness.run.experiment import measure_and_report
from harness.spec.experiment import Experiment, load_experiment
from harness.testbed.base import LiveCell
from harness.testbed.local.testbed import LocalTestbed
from harness.traces.proxy_ledger import join_proxy_log
from lb.trace_id import trace_headers
from tests.unit.synthetic.foreign_log import alb_line

pytestmark = pytest.mark.calm  # a generator that lags on a busy machine leaves a run without a verdict

ARMS = {
    "sticky": {"route": "envoy", "policy": "sticky"},
    "turns": {"route": "envoy", "policy": "round_robin"},
    "in_turn": {"route": "envoy", "policy": "round_robin", "await_each_answer": True},
    "client": {"route": "direct", "policy": "round_robin"},
}
EXPECT = [
    {"arm": "turns", "metric": "balance.max_off_fair_requests", "at_most": 1},
    {"arm": "sticky", "metric": "affinity.purity", "at_least": 1.0},
    {"arm": "sticky", "metric": "affinity.breaks", "at_most": 0},
]


@dataclass
class ExternalLab:
    """Replicas and an Envoy of one arm that already run."""

    folder: Path
    live: LiveCell
    tls: TlsFiles

    @property
    def target(self) -> str:
        assert self.live.envoy_address is not None
        return self.live.envoy_address

    @property
    def replicas(self) -> tuple[str, ...]:
        return tuple(self.live.replicas.values())

    def options(self, **external: Any) -> RunOptions:
        options = ExternalOptions(**external)
        return RunOptions(self.folder / "results", quiet=True, testbed="external", external=options)


def small(folder: Path, **changes: Any) -> Experiment:
    """Return a small experiment with ARMS and EXPECT, unless `changes` replaces them."""
    return load_experiment(str(experiment_file(folder, **{"arms": ARMS, "expect": EXPECT, **changes})))


@contextmanager
def external_lab(folder: Path, arm: str) -> Iterator[ExternalLab]:
    tls, experiment = make_certificate(folder / "tls"), small(folder)
    running = folder / "running"
    running.mkdir()
    with LocalTestbed(running / "logs", load=False, tls=tls) as testbed:
        plan = next(plan for plan in plan_cells(experiment) if plan.arm_name == arm)
        yield ExternalLab(folder, testbed.start_cell(experiment, plan, running, time.monotonic_ns()), tls)


@pytest.fixture(scope="module")
def turns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExternalLab]:
    """An external lab with round robin that several tests share, as real targets serve several runs."""
    with external_lab(tmp_path_factory.mktemp("turns"), "turns") as found:
        yield found


def test_a_run_with_only_a_target(turns: ExternalLab, tmp_path: Path) -> None:
    report, summary = measure_and_report(small(tmp_path), turns.options(target=turns.target, arm="turns"))
    assert (summary.verdict, summary.invalid_reasons) == ("held", [])
    assert list(summary.arms) == ["turns", "in_turn"]  # both need the same proxy
    assert len(summary.not_judged) == 2
    assert "sticky was not run: the load balancer has another policy" in summary.notes
    for arm in summary.arms.values():
        assert max(arm.replicas.values()) - min(arm.replicas.values()) <= 1
        unknown = {name for name, value in arm.ledgers if value is None}
        assert unknown == {
            *("envoy", "replica", "matched", "only_client", "only_envoy", "only_replica", "reconciled")
        }
        assert (arm.metrics["attempts.per_request"], arm.metrics["answers_lost"]) == (None, None)
    page = report.read_text()
    for text in (
        "the ledger of the proxy (the proxy is not the lab",
        "the ledger of the replicas (no --replica was named)",
        "not judged",
        f"--testbed external --target {turns.target} --arm turns",
    ):
        assert text in page
    cell = json.loads((report.parent / "cells" / "turns.1" / "cell.json").read_text())
    assert cell["replicas"] == {"replica-0": "", "replica-1": "", "replica-2": ""}
    assert not list(report.parent.glob("cells/*/replica-*"))


def test_a_run_with_named_replicas_has_their_ledgers_and_then_the_balancers_log(
    turns: ExternalLab, tmp_path: Path
) -> None:
    experiment = small(tmp_path, repeats=2, arms={"turns": ARMS["turns"]}, expect=[])
    options = turns.options(target=turns.target, replicas=turns.replicas)
    report, summary = measure_and_report(experiment, options)
    assert (summary.verdict, summary.invalid_reasons, summary.notes[1:]) == ("measured", [], [])
    for repeat, figures in enumerate(summary.arms["turns"].repeats, start=1):
        rows = pl.read_parquet(report.parent / "cells" / f"turns.{repeat}" / "requests.parquet")
        ledgers = figures.ledgers
        assert ledgers.reconciled is True, ledgers
        assert ledgers.matched == ledgers.client == ledgers.replica == rows.height > 0
        assert (ledgers.envoy, ledgers.only_envoy) == (None, None)
        assert set(rows["code"]) == {"OK"}  # a replica refuses a video whose id it has
        assert (figures.metrics["balance.max_off_fair_requests"] or 0) <= 1
        assert figures.metrics["attempts.per_request"] == 1

    # An ALB's log gives the proxy's ledger: all three agree, and every request is cut into all stages.
    (tmp_path / "alb.log").write_text("".join(alb_lines(turns, read_run(report.parent))))
    told = join_proxy_log(read_run(report.parent), [tmp_path / "alb.log"])
    facts = facts_of(read_run(report.parent))["turns"]
    joined = sum(one.ledgers.client for one in facts)
    assert told.startswith(f"proxy log: {joined:,} requests of 2 of 2 cells joined")
    for cell in facts:
        assert cell.contradictions == ()
        assert (cell.ledgers.reconciled, cell.ledgers.matched) == (True, cell.ledgers.client)
        assert cell.stages.keys() == stages_of("proxy", 1).keys()
    after = summarise(read_run(report.parent))
    assert after.invalid_reasons == []
    assert after.arms["turns"].metrics["stage_ms.to_proxy.p50"] is not None


def test_a_locust_file_in_two_processes_against_what_runs_already(turns: ExternalLab, tmp_path: Path) -> None:
    shutil.copy(ROOT / "load" / "locustfile.py", tmp_path / "mine.py")
    tree = json.loads(experiment_file(tmp_path, arms={"turns": ARMS["turns"]}).read_text())
    tree["workload"] = {"locustfile": "mine.py", "users": 4, "duration_s": 2}
    (tmp_path / "own.yaml").write_text(json.dumps(tree))
    options = turns.options(target=turns.target, replicas=turns.replicas)
    _, summary = measure_and_report(
        load_experiment(str(tmp_path / "own.yaml")), replace(options, load=LoadOptions(processes=2))
    )
    arm = summary.arms["turns"]
    assert (summary.invalid_reasons, arm.errors) == ([], {})
    assert arm.ledgers.reconciled is True
    assert arm.ledgers.matched == arm.ledgers.client == arm.ledgers.replica > 0


def alb_lines(lab: ExternalLab, run: Run) -> Iterator[str]:
    """Yield what an ALB would have logged of the run: from what Envoy has logged, in whole milliseconds."""
    logged = scan_access_log(lab.folder / "running" / "access.log").collect().to_dicts()
    for cell in run.cells:
        epoch_ns, prefix = cell.record.epoch_unix_ns, cell.record.trace_prefix
        assert prefix is not None
        sent = cell.requests().select("request_id", "sent_ns", "done_ns").collect().rows()
        spans = {number: (sent_ns + epoch_ns, done_ns + epoch_ns) for number, sent_ns, done_ns in sent}
        for row in logged:
            began_ns = row["start_unix_ns"]
            number = -1 if row["request_id"] is None else row["request_id"]
            first_ns, last_ns = spans.get(number, (0, 0))
            if first_ns - 10**7 <= began_ns <= last_ns + 10**7:  # the log has other runs and cells, too
                (_, trace), _ = trace_headers(prefix, number)
                ended_ns = began_ns + row["duration_us"] * 1000
                port = 40_000 + row["connection"]
                yield alb_line(began_ns, ended_ns, row["upstream"], trace, row["path"], port)


def test_a_run_over_tls_with_the_command_line(start_lab: StartLab, tmp_path: Path) -> None:
    with external_lab(tmp_path, "sticky") as running:
        target = running.target.replace("127.0.0.1", "localhost")
        options = ("--testbed", "external", "--target", target, "--tls", "--ca", running.tls.authority)
        replicas = (argument for address in running.replicas for argument in ("--replica", address))
        lab = start_lab("run", tmp_path / "small.yaml", *options, "--arm", "sticky", *replicas)
        status, out, err = lab.end()
        assert status == 0, out + err
        printed = " ".join(out.split())
        assert "not judged turns: balance.max_off_fair_requests at most 1 requests" in printed
        assert f"note the policy sticky of {target} was not confirmed: the proxy is not the lab's" in printed
        summary = json.loads((lab.run / "summary.json").read_text())
        # Direct calls to replicas use clear text.
        assert {name: arm["ledgers"]["reconciled"] for name, arm in summary["arms"].items()} == {
            "sticky": True,
            "client": True,
        }
        assert "BEGIN CERTIFICATE" in (lab.cell("sticky") / "load-order.json").read_text()
        assert "BEGIN CERTIFICATE" not in (lab.cell("client") / "load-order.json").read_text()
