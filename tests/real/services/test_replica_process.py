"""The replica process: start, stop, errors, several of them; LabControl."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import correlation

import grpc
import pytest
from replica_process import ROOT, Server, StartReplica, run_replica

from services.lab_control_pb2 import Behaviour, GetIdentityRequest, GetLedgerRequest
from services.lab_control_pb2_grpc import LabControlStub
from services.service_time import draw_ns
from services.settings import ServiceTime
from services.uniform import uniform
from services.video_service_pb2 import Video


def add(server: Server, number: int) -> None:
    metadata = (("x-lab-request-id", str(number)),)
    server.videos.AddVideo(Video(id=str(number), title="Sample Video"), metadata=metadata)


def test_a_taken_port_is_one_clear_line(server: Server) -> None:
    ended = run_replica("--name", "late", "--listen", server.address)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr == f"late: cannot listen on {server.address}: [Errno 98] Address already in use\n"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (
            ["--ledger", "/nowhere/x.csv"],
            1,
            "replica-0: cannot write the ledger /nowhere/x.csv: No such file",
        ),
        (
            ["--listen", "50051"],
            2,
            "replica: argument --listen: '50051': expected HOST:PORT, as 127.",
        ),
        (
            ["--listen", "localhost:99999"],
            2,
            "replica: argument --listen: 'localhost:99999': expected HOST:PORT",
        ),
        (
            ["--slots", "0"],
            2,
            "replica: slots is 0, expected greater than or equal to 1",
        ),
        (["--settings", "{"], 2, "replica: argument --settings: not JSON: Expecting property name"),
        (
            ["--settings", "/nowhere.json"],
            2,
            "replica: argument --settings: '/nowhere.json': cannot read it: No",
        ),
        (["--settings", '{"sluts": 3}'], 2, "replica: sluts is not a setting of a replica"),
        (["--settings", '{"slow_factor": -1}'], 2, "replica: slow_factor is -1, expected greater than or"),
        (
            ["--settings", '{"slow_share": 2}'],
            2,
            "replica: slow_share is 2, expected less than or equal to 1",
        ),
        (["--settings", '{"slow_share": NaN}'], 2, "replica: slow_share is nan, expected a finite number"),
        (["--settings", '{"fail_code": "NOPE"}'], 2, "replica: fail_code is 'NOPE', expected 'CANCELLED', "),
        (["--settings", '{"outage": {"every_s": 5}}'], 2, "replica: outage.for_ms is missing"),
        (
            ["--settings", '{"outage": {"every_s": 1, "for_ms": 1000}}'],
            2,
            "replica: outage.for_ms: 1000 is too long; expected less than every_s, which is 1000 ms",
        ),
        (
            ["--settings", '{"cache": {"sessions": 0, "hit_factor": 1}}'],
            2,
            "replica: cache.sessions is 0, expected greater than or equal to 1",
        ),
        (
            ["--settings", '{"orca": "measure"}'],
            2,
            "replica: orca is 'measure', expected 'measured' or a valid number",
        ),
        (
            ["--settings", '{"server": "forks"}'],
            2,
            "replica: server is 'forks', expected 'asyncio', 'threads' or 'threads_own_health'",
        ),
        (["--grace-s", "-1"], 2, "replica: argument --grace-s: '-1': expected 0 to 3600 seconds"),
        (["--slots", "two"], 2, "replica: argument --slots: invalid int value: 'two'"),
        (
            ["--service-time", "10"],
            2,
            "replica: argument --service-time: '10': expected DISTRIBUTION:MEAN_MS",
        ),
        (
            ["--service-time", "expo:10"],
            2,
            "replica: service_time_ms.distribution is 'expo', expected 'constant', ",
        ),
        (["--catalogue-size", "0"], 2, "replica: argument --catalogue-size: '0': expected 1 to 1000000"),
        (["--name", "a,b"], 2, "replica: argument --name: 'a,b': expected letters, digits"),
        (["--sluts", "3"], 2, "replica: unrecognized arguments: --sluts 3"),
    ],
)
def test_a_bad_command_line_is_one_clear_line(options: list[str], code: int, message: str) -> None:
    ended = run_replica(*options)
    assert ended.returncode == code
    assert ended.stderr.startswith(message)
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_open_calls_finish(start_replica: StartReplica, number: signal.Signals) -> None:
    server = start_replica("--service-time", "constant:300")
    future = server.videos.AddVideo.future(Video(id="1", title="Sample Video"))
    while server.control.GetIdentity(GetIdentityRequest()).calls_started < 1:
        time.sleep(0.005)
    server.process.send_signal(number)
    assert future.result().video.id == "1"
    out, err = server.process.communicate(timeout=5)
    assert (server.process.returncode, err) == (0, "")
    assert out == f"replica-0 serves on {server.address}\n"
    assert [row["code"] for row in server.ledger()] == ["OK"]


def test_a_stop_cancels_long_calls_after_the_grace_time_and_records_them(start_replica: StartReplica) -> None:
    server = start_replica("--service-time", "constant:60000", "--slots", "1")
    futures = [server.videos.AddVideo.future(Video(id=str(n), title="Sample Video")) for n in range(3)]
    while server.control.GetIdentity(GetIdentityRequest()).calls_started < 3:
        time.sleep(0.005)
    server.process.terminate()
    _, err = server.process.communicate(timeout=5)
    assert (server.process.returncode, err) == (0, "")
    assert [row["code"] for row in server.ledger()] == ["CANCELLED"] * 3
    assert all(future.exception() is not None for future in futures)


def test_a_killed_replica_leaves_a_row_for_every_answer(server: Server) -> None:
    answered = 0
    while answered < 200:
        add(server, answered)
        answered += 1
    server.process.kill()
    server.process.wait()
    assert [int(row["request_id"]) for row in server.ledger()] == list(range(200))


def test_lab_control_shows_and_changes_the_behaviour(start_replica: StartReplica) -> None:
    settings = {
        "slots": 3,
        "service_time_ms": {
            "distribution": "lognormal",
            "mean": 2.0,
            "methods": {},
            "dear": None,
            "burn_cpu": False,
        },
        "slow_factor": 5.0,
        "slow_share": 0.25,
        "fail_share": 0.5,
        "fail_code": "INTERNAL",
        "outage": {"every_s": 60.0, "for_ms": 250.0},
        "cache": {"sessions": 7, "hit_factor": 0.2},
        "orca": 0.4,
        "shedding": {"max_queue": 5, "deadline_aware": True},
        "fail_after_headers": True,
        "fail_after_work": True,
        "max_connection_age_ms": 9000,
        "server": "asyncio",
    }
    server = start_replica(**settings)
    identity = server.control.GetIdentity(GetIdentityRequest())
    in_force = Behaviour(
        slots=3,
        distribution="lognormal",
        mean_ms=2,
        burn_cpu=False,
        slow_factor=5,
        slow_share=0.25,
        fail_share=0.5,
        fail_code="INTERNAL",
        cache_sessions=7,
        cache_hit_factor=0.2,
        orca="0.4",
        outage_every_s=60,
        outage_for_ms=250,
        fail_after_headers=True,
        fail_after_work=True,
    )
    assert (identity.name, identity.pid, identity.serving) == ("replica-0", server.process.pid, True)
    assert identity.behaviour == in_force
    assert identity.max_connection_age_ms == 9000
    assert json.loads(identity.settings_json) == settings
    in_force.slow_factor = 4
    assert server.control.SetBehaviour(Behaviour(slow_factor=4)) == in_force
    with pytest.raises(grpc.RpcError, match=r"fail_share is 7\.0, expected less than or equal to 1"):
        server.control.SetBehaviour(Behaviour(slots=9, fail_share=7))
    identity = server.control.GetIdentity(GetIdentityRequest())
    assert identity.behaviour == in_force
    assert json.loads(identity.settings_json) == settings | {"slow_factor": 4.0}


def test_service_times_are_those_of_the_distribution(start_replica: StartReplica) -> None:
    """A replica sleeps what belongs to the request, and up to a millisecond less; a busy machine, longer."""
    settings = {"distribution": "pareto", "mean": 4.0}
    server = start_replica(slots=1, service_time_ms=settings)
    expected_ns = []
    for number in range(60):
        metadata = (("x-lab-request-id", str(number)), ("x-lab-draw", "1.1"))
        server.videos.AddVideo(Video(id=str(number), title="Sample Video"), metadata=metadata)
        draw = uniform(f"1.1/{number}/service/1")
        expected_ns.append(draw_ns(ServiceTime.model_validate(settings), draw))
    took_ns = [int(row["service_ns"]) for row in server.ledger()]
    assert all(took > due - 2_000_000 for took, due in zip(took_ns, expected_ns, strict=True))
    assert correlation(took_ns, expected_ns) > 0.5
    assert max(expected_ns) > 5 * min(expected_ns)


def test_lab_control_gives_the_ledger_which_holds_no_control_calls(server: Server) -> None:
    for number in range(3):
        add(server, number)
    rows = list(server.control.GetLedger(GetLedgerRequest()))
    assert [row.request_id for row in rows] == [0, 1, 2]
    assert [str(row.done_ns) for row in rows] == [row["done_ns"] for row in server.ledger()]


def test_lab_control_gives_only_what_is_new_in_the_ledger(server: Server) -> None:
    def new_since(position: int) -> list[int]:
        return [row.request_id for row in server.control.GetLedger(GetLedgerRequest(after=position))]

    ends = []
    for number in range(3):
        ends.append(server.control.GetIdentity(GetIdentityRequest()).ledger_end)
        add(server, number)
    assert [new_since(end) for end in ends] == [[0, 1, 2], [1, 2], [2]]
    assert new_since(server.control.GetIdentity(GetIdentityRequest()).ledger_end) == []
    for wrong in (ends[1] + 1, ends[2] + 10_000):
        with pytest.raises(grpc.RpcError, match=f"no row of the ledger begins at {wrong}"):
            new_since(wrong)


def test_ledger_times_are_from_the_epoch_given(start_replica: StartReplica) -> None:
    epoch_ns = time.monotonic_ns()
    server = start_replica("--epoch-ns", str(epoch_ns))
    before_ns = time.monotonic_ns() - epoch_ns
    add(server, 1)
    after_ns = time.monotonic_ns() - epoch_ns
    (row,) = server.ledger()
    assert before_ns < int(row["arrived_ns"]) < int(row["done_ns"]) < after_ns


def test_the_catalogue_has_the_given_size(start_replica: StartReplica) -> None:
    server = start_replica("--catalogue-size", "2")
    for number in range(3):
        add(server, number)
    add(server, 0)  # the video is gone, so it can be added again


FORK = """
import os, sys
import services.replica
children = []
for number in range(3):
    pid = os.fork()
    if pid == 0:
        name = f"replica-{number}"
        ready = f"{sys.argv[1]}/{name}.json"
        listen = "127.0.0.1:0"
        os._exit(services.replica.main(["--name", name, "--listen", listen, "--ready", ready]))
    children.append(pid)
print("children:", *children, flush=True)
for pid in children:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


def test_children_of_a_process_that_only_imported_it_serve(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", FORK, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    told = next(line for line in parent.stdout if line.startswith("children:"))  # a child may print before
    children = [int(pid) for pid in told.split()[1:]]
    try:
        for number in range(3):
            ready = tmp_path / f"replica-{number}.json"
            while not ready.exists():
                assert parent.poll() is None
                time.sleep(0.01)
            address = ready.read_text().split('"address": "')[1].split('"')[0]
            with grpc.insecure_channel(address) as channel:
                identity = LabControlStub(channel).GetIdentity(GetIdentityRequest())
            assert identity.pid == children[number]
    finally:
        for pid in children:
            os.kill(pid, signal.SIGTERM)
        parent.communicate(timeout=5)
    assert parent.returncode == 0
