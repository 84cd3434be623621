"""The simulated testbed: the same run directory as a measured run, computed; and what it refuses."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import tests.simulator.kernels  # noqa: F401
from harness.analysis.facts import collect_facts
from harness.analysis.summary import facts_of, summarise
from harness.cli.main import main
from harness.errors import UserError
from harness.paths import ROOT
from harness.plan.cells import plan_cells
from harness.plan.pool import ThisMachine
from harness.plan.run_options import LoadOptions, RunOptions
from harness.record.manifest import MANIFEST, SIMULATED, Manifest
from harness.record.run_directory import Run, RunWriter, read_run
from harness.run.planned_record import planned_cell
from harness.run.progress import RunProgress
from harness.run.provenance import host
from harness.run.repeats import Claims, Rounds
from harness.run.search import SearchRounds
from harness.run.simulated_cell import ComputedCells, SimulatedCellRun
from harness.spec.experiment import Experiment, experiment_yaml, load_experiment, quick_overrides
from harness.spec.heads import experiment_names
from harness.testbed.simulated.limits import POLICIES, not_modelled
from harness.testbed.simulated.model import draw_calls, sessions_of
from harness.testbed.simulated.plan import plan_simulated
from lb.session import Session
from lb.settings import ClientSettings
from services.call import Call
from services.draws import Draws
from services.service_time import draw_ns
from tests.unit.thorough import THOROUGH


def simulated(experiment: Experiment, folder: Path) -> Run:
    """Simulate every cell of the experiment, without a report."""
    experiment, fields = plan_simulated(experiment, RunOptions())
    plans = plan_cells(experiment)
    manifest = Manifest(
        experiment=experiment.name,
        seed=experiment.seed,
        versions={},
        host=host(),
        git_commit=None,
        testbed="simulated",
        **fields,
        cells=[],
    )
    writer = RunWriter.create(folder, manifest, experiment_yaml(experiment))
    rounds: Rounds = iter([plans])
    if experiment.search is not None:
        rounds = SearchRounds(experiment, writer.path, Claims(writer.path)).rounds(lambda: None)
    computed = ComputedCells(experiment, ThisMachine())
    progress = RunProgress(experiment, len(plans), quiet=True)
    for cells in computed.ahead(rounds):
        writer.plan(map(planned_cell, cells))
        for plan in cells:
            SimulatedCellRun(experiment, plan, writer, computed).run(progress)
            writer.seal_cell(plan.order)
    writer.finish("completed")
    return read_run(writer.path)


def test_the_command_gives_a_whole_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sticky", "--testbed", "simulated", "--results", str(tmp_path), "-q", "--quick"]
    assert main(words) == 0
    run = read_run(tmp_path / "sticky" / "latest")
    assert run.manifest.testbed == "simulated"
    # Whoever reads any part of the run is told that nothing was measured.
    assert run.manifest.notes == [SIMULATED]
    assert "simulated: nothing was started" in " ".join(capsys.readouterr().out.split())
    assert SIMULATED in (run.path / "report.html").read_text()
    assert list((run.path / "plots").glob("*.svg"))
    access = pl.read_parquet(run.cells[0].folder / "proxy.parquet")
    assert access["grpc"].unique().to_list() == ["OK"]


@pytest.fixture(scope="module", params=experiment_names())
def run(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Each experiment of the lab that can be simulated, or those of its arms that can."""
    name = request.param
    experiment = load_experiment(name, quick_overrides(load_experiment(name)))
    if all(not_modelled(experiment, variant.arm) for variant in experiment.variants.values()):
        with pytest.raises(UserError, match=f"^{name}: none of its arms can be simulated"):
            plan_simulated(experiment, RunOptions())
        pytest.skip("not modelled")
    yield simulated(experiment, tmp_path_factory.mktemp("runs"))


def test_the_ledgers_of_every_simulated_arm_agree(run: Run) -> None:
    for cell in run.cells:
        facts = collect_facts(cell)
        assert facts.ledgers.reconciled is True
        assert facts.requests == cell.record.planned_requests or cell.record.awaits_answers
    reasons = summarise(run, facts_of(run)).invalid_reasons
    # Of some experiments only arms are modelled about which nothing is expected.
    assert [
        reason for reason in reasons if "every expectation is about an arm that was not run" not in reason
    ] == []


# The expectations were written for real parts, and hold there. With 3 repeats some stay undecided.
@pytest.mark.parametrize("name", experiment_names()[:: 1 if THOROUGH else 6])
def test_no_expectation_of_the_catalogue_is_refuted(name: str, tmp_path: Path) -> None:
    experiment = load_experiment(name, {"repeats": 3})
    if all(not_modelled(experiment, variant.arm) for variant in experiment.variants.values()):
        pytest.skip("not modelled")
    run = simulated(experiment, tmp_path)
    findings = summarise(run, facts_of(run)).expectations
    assert [finding.text for finding in findings if finding.verdict == "refuted"] == []


def test_round_robin_is_exact_and_sticky_is_pure(tmp_path: Path) -> None:
    summary_of = {
        cell.record.arm: collect_facts(cell)
        for cell in simulated(load_experiment("sticky", {"repeats": 1}), tmp_path).cells
    }
    turns = summary_of["round_robin"].replica_requests.values()
    assert max(turns) - min(turns) <= 2  # one for the turns, one for the start of the window
    assert summary_of["sticky"].sessions.breaks == 0


def test_all_arms_get_the_calls_of_the_plan_with_the_same_service_times(tmp_path: Path) -> None:
    run = simulated(load_experiment("sticky", {"repeats": 1}), tmp_path)
    tables = []
    for cell in run.cells:
        rows = cell.requests().collect().sort("request_id")
        # Only calls from after the warm-up: measuring starts when the warm-up's last answer has come.
        start_ns = cell.record.measure_start_ns
        measured = rows.filter(pl.col("planned_ns") >= start_ns)
        assert measured.height == cell.record.planned_requests
        tables.append(measured.select("request_id", pl.col("planned_ns") - start_ns, "service_ns"))
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("name", ["sticky", "dear_clients"])
def test_a_request_takes_as_long_as_a_replica_would_draw(name: str, tmp_path: Path) -> None:
    run = simulated(load_experiment(name, {"repeats": 1}), tmp_path)
    rows = run.cells[0].requests().collect().filter(pl.col("code") == "OK").head(200)
    assert rows["service_ns"].n_unique() > 1
    draws, service_time = Draws("a replica"), run.experiment.replicas.service_time_ms
    for request_id, client, service_ns in rows.select("request_id", "client", "service_ns").iter_rows():
        call = Call(request_id, "AddVideo", "", 0, 1, identity=f"{run.experiment.seed}.1/{request_id}")
        assert service_ns == draw_ns(service_time, draws.service(call), client=client)


def test_a_recorded_request_takes_as_long_as_it_took(tmp_path: Path) -> None:
    times_ns = [5_000_000 + 1_000 * number for number in range(50)]
    rows = {"time_unix_ns": [10**18 + 10**7 * n for n in range(50)], "client": [n % 3 for n in range(50)]}
    pl.DataFrame(rows | {"target_time_ns": times_ns}).write_parquet(tmp_path / "t.parquet")
    trace = {"file": "t.parquet", "window": [0, 0.5], "service_times": "recorded"}
    tree = {
        **{"title": "t", "question": "q", "lesson": "l", "repeats": 1},
        "replicas": {"count": 2, "slots": 9},
        "workload": {"trace": trace, "calls": {"AddVideo": 1}, "warm_up_s": 0},
        "arms": {"a": {"route": "envoy", "policy": "round_robin"}},
    }
    (tmp_path / "e.yaml").write_text(json.dumps(tree))
    run = simulated(load_experiment(str(tmp_path / "e.yaml")), tmp_path / "results")
    assert run.cells[0].requests().collect().sort("planned_ns")["service_ns"].to_list() == times_ns


ENDS = {"route": "envoy", "policy": "sticky", "session_lifetime_s": 0.4}
VARIES = {**ENDS, "session_lifetimes": "exponential"}


@pytest.fixture
def with_lifetimes(tmp_path: Path) -> Experiment:
    tree = {
        **{"title": "t", "question": "q", "lesson": "l", "repeats": 1},
        "replicas": {"count": 3, "slots": 2, "service_time_ms": {"distribution": "exponential", "mean": 2}},
        "workload": {
            **{"clients": 5, "rate_per_s": 200, "skew": 0.5, "calls": {"AddVideo": 1}},
            **{"warm_up_s": 0.7, "duration_s": 2},
        },
        "arms": {"ends": ENDS, "varies": VARIES, "hashed": {**VARIES, "policy": "maglev"}},
    }
    (tmp_path / "e.yaml").write_text(json.dumps(tree))
    return load_experiment(str(tmp_path / "e.yaml"))


def test_sessions_end_and_open_as_those_of_the_clients(with_lifetimes: Experiment) -> None:
    """As lb.client.Client does it: a call that is planned after the end opens the next session."""
    for plan in plan_cells(with_lifetimes):
        settings = ClientSettings(
            **{"target": "", "service_config": None, "cookie_jar": True, "await_first_answer": True},
            **{"messages_per_stream": 1, "deadline_s": 1, "epoch_ns": 0},
            session_lifetime_s=plan.arm.session_lifetime_s,
            lifetimes_vary=plan.arm.session_lifetimes == "exponential",
            draw=plan.load.draw,
        )
        drawn = draw_calls(with_lifetimes, plan)
        numbers, names = sessions_of(plan, drawn)
        assert len(names) > 2 * plan.load.clients
        sessions: dict[int, Session] = {}
        at_ns = drawn.planned_ns + 700_000_000 * drawn.measured
        calls = zip(drawn.client.tolist(), at_ns.tolist(), numbers.tolist(), strict=True)
        for client, planned_ns, number in calls:
            session = sessions.get(client)
            if session is None or planned_ns >= (session.ends_ns or 0):
                count = 0 if session is None else session.number + 1
                session = sessions[client] = Session(client, count, planned_ns, settings)
            assert names[number] == f"{client}.{session.number}"


def test_a_session_stays_and_the_next_one_goes_where_chance_has_it(
    with_lifetimes: Experiment, tmp_path: Path
) -> None:
    run = simulated(with_lifetimes, tmp_path / "results")
    assert summarise(run, facts_of(run)).invalid_reasons == []
    for cell in run.cells:
        rows = cell.requests().collect().sort("client", "planned_ns")
        steps = rows.select(pl.col("session").diff().over("client")).drop_nulls().to_series()
        assert set(steps) == {0, 1}
        assert rows["session"].max() > 3
        assert rows.group_by("client", "session").agg(pl.col("replica").n_unique())["replica"].max() == 1
        assert rows.group_by("client").agg(pl.col("replica").n_unique())["replica"].max() > 1
        assert collect_facts(cell).sessions.breaks == 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (RunOptions(web=True), "--web"),
        (RunOptions(load=LoadOptions(processes=2)), "--processes"),
        (RunOptions(load=LoadOptions(expect_workers=1)), "--expect-workers"),
    ],
)
def test_options_about_load_processes_are_refused(options: RunOptions, named: str) -> None:
    with pytest.raises(UserError, match=f"{named}: --testbed simulated starts no load; leave it out"):
        plan_simulated(load_experiment("sticky"), options)


def test_the_arms_of_the_catalogue_that_are_not_modelled_are_few() -> None:
    """A change of this list is seen here, and told in docs/simulator.md."""
    arms, left_out = 0, set()
    for name in experiment_names():
        experiment = load_experiment(name)
        arms += len(experiment.variants)
        left_out |= {
            f"{name}.{arm}" for arm, one in experiment.variants.items() if not_modelled(experiment, one.arm)
        }
    assert arms > 120
    assert len(left_out) < 60, sorted(left_out)
    told = f"{arms - len(left_out)} of the catalogue's {arms} arms are simulated"
    assert told in (ROOT / "docs" / "simulator.md").read_text(), told


def test_arms_that_are_not_modelled_are_left_out_by_name() -> None:
    experiment, fields = plan_simulated(load_experiment("unequal_replicas"), RunOptions())
    assert list(experiment.arms) == ["round_robin", "least_request"]
    assert any("orca_proxy was not run: not modelled: policy" in note for note in fields["notes"])
    assert fields["not_judged"]
    assert {one.arm for one in experiment.expect} <= {"round_robin", "least_request"}


def test_every_route_has_policies_that_exist() -> None:
    from harness.policies.registry import POLICIES_OF_ROUTE

    for route, names in POLICIES.items():
        assert set(names) <= set(POLICIES_OF_ROUTE[route])


def test_the_record_says_simulated(tmp_path: Path) -> None:
    run = simulated(load_experiment("sticky", {"repeats": 1}), tmp_path)
    assert json.loads((run.path / MANIFEST).read_text())["testbed"] == "simulated"
