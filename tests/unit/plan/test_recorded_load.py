"""The load of a trace, as the planner has it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from harness.cli.main import main
from harness.errors import UserError
from harness.plan import question as questions
from harness.plan.fleet_forecast import FleetForecast
from harness.plan.placements import heaviest_per_s, overload_probability, shares_of
from harness.plan.question import FleetQuestion, question_of, recorded_load
from harness.spec.experiment import load_experiment

SECOND = 1_000_000_000


def write_trace(path: Path, rows: list[tuple[float, int]]) -> Path:
    """Write a trace: (seconds, client's hash) of each request, in any order."""
    times = [1_700_000_000 * SECOND + round(at_s * SECOND) for at_s, _ in rows]
    columns = {"time_unix_ns": times, "client": [client for _, client in rows]}
    schema = {"time_unix_ns": pl.Int64, "client": pl.UInt64}
    pl.DataFrame(columns, schema=schema).write_parquet(path)
    return path


# Client 7 sends six of ten requests, 5 three, 9 one: a request a second, the last one at 9 s.
ROWS = [(float(at), client) for at, client in enumerate([5, 7, 7, 9, 7, 5, 7, 7, 5, 7])]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return write_trace(tmp_path / "trace.parquet", ROWS[::-1])


def question(path: Path) -> FleetQuestion:
    load = recorded_load(path)
    return FleetQuestion(
        clients=3, rate_per_s=load.rate_per_s, skew=0, targets=2, service_ms=100, slots=1, recorded=load
    )


def test_the_arrivals_are_those_of_the_trace(trace: Path) -> None:
    load = recorded_load(trace)
    assert load.at_s.tolist() == [float(at) for at in range(10)]
    assert load.client.tolist() == [1, 0, 0, 2, 0, 1, 0, 0, 1, 0]
    assert load.requests_of.tolist() == [6, 3, 1]
    own = question(trace)
    assert shares_of(own).tolist() == pytest.approx([0.6, 0.3, 0.1])
    assert heaviest_per_s(own) == pytest.approx(0.6 * load.rate_per_s)
    assert own.duration_s == pytest.approx(9)


def test_another_rate_plays_them_faster(trace: Path) -> None:
    fast = replace(question(trace), rate_per_s=20 * question(trace).rate_per_s)
    assert fast.duration_s == pytest.approx(9 / 20)
    (drawn, *_) = FleetForecast(fast, placements=2).draws
    assert (drawn.at / fast.rate_per_s).tolist() == pytest.approx([at / 20 for at in range(10)])
    assert drawn.client.tolist() == [1, 0, 0, 2, 0, 1, 0, 0, 1, 0]
    # 22/s in all, 13/s of the busiest client, and a target serves 10/s.
    assert overload_probability(fast, dealt=True) == 1
    assert overload_probability(question(trace), dealt=True) == 0


def test_of_a_long_trace_the_fastest_part_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "MAX_REQUESTS", 4)
    times = [0.0, 5.0, 10.0, 10.1, 10.2, 10.4, 15.0, 20.0]
    load = recorded_load(write_trace(tmp_path / "long.parquet", [(at, 1) for at in times]))
    np.testing.assert_allclose(load.at_s, [0, 0.1, 0.2, 0.4])


def test_an_experiment_that_plays_a_trace_is_planned_with_it(tmp_path: Path, trace: Path) -> None:
    file = tmp_path / "played.yaml"
    file.write_text(
        "title: t\nquestion: q\nlesson: l\n"
        "replicas: {count: 2, slots: 1, service_time_ms: {distribution: constant, mean: 10}}\n"
        "workload:\n  trace: {file: trace.parquet, window: [2, 8], speed: 2}\n"
        "  calls: {AddVideo: 1}\n  warm_up_s: 0.5\n"
        "arms:\n  sticky: {route: envoy, policy: sticky}\n"
    )
    own = question_of(load_experiment(str(file)))
    assert own.recorded is not None
    assert own.recorded.at_s.tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
    assert (own.clients, own.notes) == (3, ())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--targets", "2"], "--service-time missing, which a trace does not give"),
        (["--targets", "2", "--service-time", "9ms", "--clients", "4"], "--clients: the trace gives it"),
        (["--targets", "2", "--service-time", "9ms", "--seconds", "4"], "--seconds: the trace gives it"),
        (
            ["--targets", "2", "--service-time", "9ms", "--write", "x.yaml"],
            "--write: an experiment that plays",
        ),
    ],
)
def test_what_a_trace_gives_is_not_asked_for(
    trace: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(trace), *words]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


def test_a_trace_has_two_requests_at_least(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 requests; expected two at least, at different times"):
        recorded_load(write_trace(tmp_path / "one.parquet", ROWS[:1]))
    with pytest.raises(UserError, match="expected the columns time_unix_ns, client"):
        pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "no.parquet")
        recorded_load(tmp_path / "no.parquet")
