"""A recorded trace is played on real parts: the recorded clients send when they sent."""

import json
import math
from pathlib import Path

import polars as pl
from lab_process import StartLab, experiment_file

from docs.examples.alb_log import Traffic, write_log
from harness.analysis.summary import facts_of
from harness.plan.cells import plan_cells
from harness.record.run_directory import read_run
from harness.traces.read import ReadOptions, read_trace
from lb.plan import Load, Phase, open_loop
from lb.rows import REQUEST_IDS_PER_CLIENT

ARMS = {
    "random": {"route": "envoy", "policy": "random"},
    "sticky": {"route": "envoy", "policy": "sticky"},
}


def _work(load: Load) -> list[tuple[int, int]]:
    """Return the id of each planned request, and its recorded service time."""
    phases: tuple[Phase, ...] = ("warm_up", "measure")
    of_clients = [
        [call.work_ns for phase in phases for call in open_loop(load, client, phase, 1.0, opens=False)]
        for client in range(load.clients)
    ]
    return [
        (client * REQUEST_IDS_PER_CLIENT + number, work_ns)
        for client, times in enumerate(of_clients)
        for number, work_ns in enumerate(times)
    ]


def test_recorded_clients_send_what_they_sent(start_lab: StartLab, tmp_path: Path) -> None:
    write_log(tmp_path / "a.log", Traffic(requests=1_500, rate_per_s=100, clients=12, skew=1.0, targets=3))
    trace = read_trace([tmp_path / "a.log"], ReadOptions(key=b"0123456789abcdef"))
    trace.save(tmp_path / "t.parquet")
    path = experiment_file(tmp_path, arms=ARMS)
    tree = json.loads(path.read_text())
    played = {"file": "t.parquet", "window": [5, 9], "speed": 4, "service_times": "recorded"}
    tree["workload"] = {"trace": played, "calls": {"AddVideo": 1}, "warm_up_s": 0.5, "deadline_ms": 2000}
    tree["replicas"] = {"count": 3, "slots": 64}  # nobody waits: the trace's times have the queue of then
    path.write_text(json.dumps(tree))
    lab = start_lab("run", path, "--redo", 0)
    status, out, err = lab.end()
    assert status in (0, 3), out + err  # 3: no expectation, and on a busy machine no usable latency

    (tmp_path / "t.parquet").unlink()  # the run keeps what it needs
    run = read_run(lab.run)
    facts = {cell.arm: cell for cells in facts_of(run).values() for cell in cells}
    # The record has the whole plan, at its times: the analysis draws it again from the run's own trace.
    assert [facts[arm].contradictions for arm in ARMS] == [(), ()]

    at_s = (trace.table["time_unix_ns"] - trace.start_ns) / 1e9
    inside = trace.table.filter(at_s.is_between(5, 9, closed="left"))
    recorded = sorted(inside["client"].value_counts()["count"].to_list())
    for cell in facts.values():
        sent = sorted(sum(row) for row in cell.client_requests.values() if any(row))
        assert sent == recorded
    # The recorded policy drew a target for each request, and so does the one played.
    before = sorted(inside["target"].value_counts()["count"].to_list())
    after = sorted(facts["random"].replica_requests.values())
    total = sum(recorded)
    for one, other in zip(before, after, strict=True):
        share = one / total
        assert abs(one - other) / total < 3.3 * math.sqrt(2 * share * (1 - share) / total)
    assert facts["sticky"].sessions.breaks == 0
    # Each request took the time that was recorded of it; sleeps make up for a millisecond of the one before.
    load = plan_cells(run.experiment)[0].load
    wanted = pl.DataFrame(_work(load), schema={"request_id": pl.Int64, "work_ns": pl.Int64}, orient="row")
    for cell in run.cells:
        pairs = cell.requests().collect().join(wanted, on="request_id")
        assert pairs.height == wanted.height
        assert (pairs["service_ns"] - pairs["work_ns"]).min() > -2_000_000
        assert pairs.select(pl.corr("service_ns", "work_ns")).item() > 0.5  # drawn times: about 0
    assert pl.read_parquet(lab.run / "trace.parquet").height < trace.table.height
