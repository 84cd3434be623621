"""A workload that plays a trace: what the trace gives, and mistakes in one line."""

import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import UserError
from harness.plan.cells import plan_cells
from harness.run.stored_experiment import stored_experiment
from harness.spec.experiment import Experiment, experiment_yaml, load_experiment
from harness.spec.trace_file import NS_PER_S, recorded_arrivals
from lb.plan import NOT_RECORDED, Load, Phase, client_rate_per_s, open_loop, planned_requests, split_clients

START_NS = 1_795_514_400 * NS_PER_S
# Seconds after the first request -> client.
ARRIVALS = [(0.0, 7), (9.5, 8), (10.0, 7), (10.5, 9), (11.0, 8), (12.0, 8), (13.9, 9), (14.0, 8), (30.0, 7)]


SERVICE = {"service_time_ms": {"distribution": "constant", "mean": 1}}
# One for each of ARRIVALS.
TIMES_MS = (1.0, 2.0, 3.0, None, 5.0, 6.0, 7.0, 8.0, 100_000.0)
RECORDED = {"trace": {"file": "t.parquet", "window": [10, 14], "speed": 2, "service_times": "recorded"}}


def write_trace(
    folder: Path, arrivals: list[tuple[float, int | None]] = ARRIVALS, times_ms: Sequence[float | None] = ()
) -> Path:
    """Write a trace. times_ms: of the targets; none: the trace has no such column."""
    rows: dict[str, list[Any]] = {
        "time_unix_ns": [START_NS + round(at * NS_PER_S) for at, _ in arrivals],
        "client": [client for _, client in arrivals],
    }
    schema: dict[str, Any] = {"time_unix_ns": pl.Int64, "client": pl.UInt64}
    if times_ms:
        rows["target_time_ns"] = [None if ms is None else round(ms * 1e6) for ms in times_ms]
        schema["target_time_ns"] = pl.Int64
    path = folder / "t.parquet"
    pl.DataFrame(rows, schema=schema).write_parquet(path)
    return path


def write_experiment(folder: Path, **changes: Any) -> str:
    work = {"trace": {"file": "t.parquet", "window": [10, 14], "speed": 2}, "calls": {"AddVideo": 1}}
    tree = {
        "title": "t", "question": "q", "lesson": "l",
        "replicas": {"count": 2, "slots": 1, **changes.pop("service", SERVICE)},
        "workload": {**work, "warm_up_s": 1, **changes.pop("workload", {})},
        "arms": {"a": {"route": "envoy", "policy": "round_robin"}},
        **changes,
    }  # fmt: skip
    path = folder / "e.yaml"
    path.write_text(json.dumps(tree))
    return str(path)


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    write_trace(tmp_path)
    return load_experiment(write_experiment(tmp_path))


def calls(load: Load, phase: Phase, duration_s: float = 2.0) -> list[list[int]]:
    return [
        [call.at_ns for call in open_loop(load, client, phase, duration_s, opens=phase == "warm_up")]
        for client in range(load.clients)
    ]


def test_the_trace_gives_clients_rate_and_duration(experiment: Experiment) -> None:
    work = experiment.workload
    # 10 s to 14 s, twice as fast: the requests at 14 s and later are not in it.
    assert (work.clients, work.duration_s, work.rate_per_s) == (3, 2.0, 5 / 2.0)


def test_recorded_clients_send_when_they_sent(experiment: Experiment) -> None:
    (plan, *_) = plan_cells(experiment)
    # Client 8 has three requests, of which one comes in the second before the window, at half the time.
    assert calls(plan.load, "warm_up") == [[750_000_000], [], []]
    assert calls(plan.load, "measure") == [[500_000_000, 1_000_000_000], [250_000_000, 1_950_000_000], [0]]
    assert planned_requests(plan.load, 1.0, 2.0) == 5
    assert client_rate_per_s(plan.load, 0) == pytest.approx(2.5 * 3 / 6)
    assert sorted(chain.from_iterable(split_clients(plan.load, 2))) == [0, 1, 2]
    assert all(other.load.recorded == plan.load.recorded for other in plan_cells(experiment))


def test_an_experiment_written_again_is_the_same(experiment: Experiment, tmp_path: Path) -> None:
    again = tmp_path / "elsewhere" / "e.yaml"
    again.parent.mkdir()
    again.write_text(experiment_yaml(experiment))
    assert load_experiment(str(again)) == experiment


def test_a_run_stores_the_part_that_it_plays(experiment: Experiment, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with stored_experiment(experiment) as (text, files):
        (folder / "e.yaml").write_text(text)
        for file in files:
            (folder / file.name).write_bytes(file.read_bytes())
    (tmp_path / "t.parquet").unlink()
    stored = load_experiment(str(folder / "e.yaml"))
    assert plan_cells(stored)[0].load == plan_cells(experiment)[0].load
    assert pl.read_parquet(folder / "trace.parquet").height == 8  # not the request at 30 s
    pl.read_parquet(folder / "trace.parquet")[1:].write_parquet(folder / "trace.parquet")
    with pytest.raises(UserError, match=r"workload.trace.sha256: .* is another file"):
        load_experiment(str(folder / "e.yaml"))


@pytest.mark.parametrize(
    ("work", "message"),
    [
        ({"clients": 3}, "workload.clients: the trace gives it; leave it out"),
        ({"rate_per_s": 3}, "workload.rate_per_s: the trace gives it, and its speed; leave it out"),
        ({"duration_s": 3}, "workload.duration_s: the trace's window and speed give it"),
        ({"skew": 0}, "workload.skew: the trace's clients have their own rates"),
        ({"think_time_ms": 3}, "workload.think_time_ms: a trace is an open loop"),
        ({"trace": {"file": "none", "window": [10, 14]}}, "none: expected a trace"),
        ({"trace": {"file": "t.parquet", "window": [14, 10]}}, r"window: \[14, 10\]; expected \[from, to\]"),
        ({"trace": {"file": "t.parquet", "window": [15, 20]}}, "no request from 15 s to 20 s"),
        ({"trace": {"file": "t.parquet", "window": [0, 20]}}, "warm-up plays the 1 s before it; expected"),
        ({"trace": {"file": "t.parquet", "window": [10]}}, "window"),
        ({"trace": {"file": "t.parquet", "window": [10, 14], "sped": 2}}, "sped"),
        ({"trace": {"file": "t.parquet", "window": [10, 14], "speed": 0}}, "speed"),
        ({"trace": {"file": "e.yaml", "window": [10, 14]}}, "expected a trace, as `observe --save-trace`"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, work: dict[str, Any], message: str) -> None:
    write_trace(tmp_path)
    path = write_experiment(tmp_path, workload=work)
    with pytest.raises(UserError, match=message) as error:
        load_experiment(path)
    assert str(error.value).startswith(f"{path}:1: ")
    assert "\n" not in str(error.value)


def test_recorded_service_times_go_with_their_requests(tmp_path: Path) -> None:
    write_trace(tmp_path, times_ms=TIMES_MS)
    experiment = load_experiment(write_experiment(tmp_path, workload=RECORDED, service={}))
    (plan, *_) = plan_cells(experiment)
    played = {
        call.at_ns: call.work_ns / 1e6
        for client in range(plan.load.clients)
        for call in open_loop(plan.load, client, "measure", 2.0, opens=False)
    }
    # The request without a time, at 10.5 s, has one that its replica draws.
    assert played == {
        0: 3.0,
        250_000_000: NOT_RECORDED / 1e6,
        500_000_000: 5.0,
        10**9: 6.0,
        1_950_000_000: 7.0,
    }
    # The replicas' mean is that of the trace, so plan and capacity are right.
    assert experiment.replicas.service_time_ms.mean == pytest.approx((2 + 3 + 5 + 6 + 7) / 5)
    again = tmp_path / "elsewhere" / "e.yaml"
    again.parent.mkdir()
    again.write_text(experiment_yaml(experiment))
    assert load_experiment(str(again)) == experiment


def test_a_run_stores_the_recorded_service_times(tmp_path: Path) -> None:
    write_trace(tmp_path, times_ms=TIMES_MS)
    experiment = load_experiment(write_experiment(tmp_path, workload=RECORDED, service={}))
    with stored_experiment(experiment) as (text, (file,)):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "e.yaml").write_text(text)
        (tmp_path / "run" / file.name).write_bytes(file.read_bytes())
    stored = load_experiment(str(tmp_path / "run" / "e.yaml"))
    assert plan_cells(stored)[0].load == plan_cells(experiment)[0].load


@pytest.mark.parametrize(
    ("times_ms", "changes", "message"),
    [
        (
            (),
            {},
            "workload.trace: .*t.parquet: has no times of targets .target_time_ns.; leave service_times out",
        ),
        ((None,) * 9, {}, "workload.trace: .*t.parquet: no request in the window has a time of its target"),
        (
            TIMES_MS,
            {"service": SERVICE},
            "replicas.service_time_ms: the trace gives it .service_times.; leave it",
        ),
        (
            TIMES_MS,
            {"workload": {**RECORDED, "calls": {"GetVideo": 1}}},
            "workload.trace.service_times: GetVideo takes a service time for each message",
        ),
    ],
)
def test_service_times_that_cannot_be_played_are_one_line(
    tmp_path: Path, times_ms: tuple[float | None, ...], changes: dict[str, Any], message: str
) -> None:
    write_trace(tmp_path, times_ms=times_ms)
    with pytest.raises(UserError, match=rf"^\S+e.yaml:1: {message}") as error:
        load_experiment(write_experiment(tmp_path, **{"workload": RECORDED, "service": {}, **changes}))
    assert "\n" not in str(error.value)


def test_what_the_trace_gives_cannot_be_set_elsewhere(tmp_path: Path) -> None:
    write_trace(tmp_path)
    with pytest.raises(UserError, match=r"^--clients: workload.clients: the trace gives it"):
        load_experiment(write_experiment(tmp_path), {"workload.clients": 5})
    arms = {"a": {"route": "envoy", "policy": "round_robin", "clients": 9}}
    with pytest.raises(UserError, match=r"arms.a.clients: the workload plays a trace"):
        load_experiment(write_experiment(tmp_path, arms=arms))


def test_requests_without_a_client_are_one_client(tmp_path: Path) -> None:
    path = write_trace(tmp_path, [(0.0, None), (1.0, 5), (2.0, None)])
    recorded = recorded_arrivals(path, (0.0, 3.0), 1.0, 0.0)
    assert recorded.measure == [[0, 2 * NS_PER_S], [NS_PER_S]]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    arrivals=st.lists(st.tuples(st.integers(0, 9_999), st.integers(0, 4)), min_size=1, max_size=40),
    window=st.tuples(st.integers(0, 8), st.integers(1, 6)),
    speed=st.sampled_from([0.1, 0.3, 1.0, 7.0]),
)
def test_every_request_of_the_window_is_played_once(tmp_path, arrivals, window, speed: float) -> None:
    at_s = sorted((ms / 1000, client) for ms, client in arrivals)
    path = write_trace(tmp_path, at_s).rename(tmp_path / f"{abs(hash((str(at_s), window, speed)))}.parquet")
    start, end = float(window[0]), float(sum(window))
    first = at_s[0][0]
    inside = [(at - first - start, client) for at, client in at_s if start <= round(at - first, 6) < end]
    if not inside:
        return
    recorded = recorded_arrivals(path, (start, end), speed, 0.0)
    assert recorded.clients == len({client for _, client in inside})
    played = sorted(at for times in recorded.measure for at in times)
    assert len(played) >= len(inside) - 1  # rounding may move one beyond the end
    assert all(0 <= at < round((end - start) / speed * NS_PER_S) for at in played)
    counts = [len(times) for times in recorded.measure]
    assert counts == sorted(counts, reverse=True)
    for at, (expected_s, _) in zip(played, sorted(inside), strict=False):
        assert at == pytest.approx(expected_s / speed * NS_PER_S, abs=2)
