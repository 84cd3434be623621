"""`python -m load.main` makes exactly the planned calls, and every finished call is on disk."""

import itertools
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clients import SETTINGS
from lab_process import ROOT, StartCell
from load_process import LoadProcess

from lb.plan import NS_PER_S, Load, open_loop
from lb.policies import service_config
from lb.rows import CLOSED_LOOP_MEASURED, REQUEST_IDS_PER_CLIENT
from load.order import STOPPED_EARLY, LoadOrder

MIX = {"AddVideo": 3.0, "ListVideos": 1.0, "GetVideos": 1.0, "GetVideo": 1.0}
OPEN = Load(clients=3, rate_per_s=120, think_time_ms=None, skew=1.0, calls=MIX, seed=7, repeat=1)


@pytest.fixture
def start_load(tmp_path: Path) -> Iterator[Any]:
    started: list[LoadProcess] = []

    def start(
        target: str,
        load: Load = OPEN,
        web_port: int | None = None,
        policy: str = "round_robin",
        program: str | None = None,
        processes: int = 1,
        **times: float,
    ) -> LoadProcess:
        settings = replace(
            SETTINGS,
            target=target,
            service_config=service_config(policy),
            messages_per_stream=2,
            epoch_ns=time.monotonic_ns(),
            deadline_s=times.get("deadline_s", 5),
        )
        folder = tmp_path / "load"
        folder.mkdir()
        warm_up_s, duration_s = times.get("warm_up_s", 0.3), times.get("duration_s", 0.7)
        order = LoadOrder(load, settings, warm_up_s, duration_s, folder, web_port, processes=processes)
        started.append(LoadProcess(order, program))
        return started[-1]

    yield start
    for run in started:
        run.process.kill()
        run.process.communicate()


@pytest.mark.parametrize("warm_up_s", [0.3, 0])
def test_every_planned_call_is_sent_once_at_its_time(
    warm_up_s: float, start_cell: StartCell, start_load: Any
) -> None:
    run = start_load(start_cell("direct", "round_robin").target, warm_up_s=warm_up_s)
    assert run.end() == 0, run.stderr
    rows, status = run.rows(), run.status()
    assert status["state"] == "done"
    assert status["measure_end_ns"] - status["measure_start_ns"] == 0.7 * NS_PER_S
    assert status["answered"] == len(rows)
    assert {row["code"] for row in rows} == {"OK"}

    planned = Counter(
        (client, call.method, status["measure_start_ns"] + call.at_ns)
        for client in range(OPEN.clients)
        for call in open_loop(OPEN, client, "measure", 0.7, opens=not warm_up_s)
    )
    measured = [row for row in rows if row["planned_ns"] >= status["measure_start_ns"]]
    assert Counter((row["client"], row["method"], row["planned_ns"]) for row in measured) == planned

    opening = Counter(
        (client, call.method)
        for client in range(OPEN.clients)
        for call in (open_loop(OPEN, client, "warm_up", warm_up_s, opens=True) if warm_up_s else ())
    )
    before = [row for row in rows if row["planned_ns"] < status["measure_start_ns"]]
    assert Counter((row["client"], row["method"]) for row in before) == opening
    # All calls of the warm-up end before the first measured call is sent.
    assert all(row["done_ns"] <= status["measure_start_ns"] for row in before)
    assert all(row["planned_ns"] <= row["ready_ns"] <= row["sent_ns"] <= row["done_ns"] for row in rows)
    for client in range(OPEN.clients):
        ids = sorted(row["request_id"] for row in rows if row["client"] == client)
        assert ids == [client * REQUEST_IDS_PER_CLIENT + number for number in range(len(ids))]


def test_messages_of_streams_are_rows_of_their_own(start_cell: StartCell, start_load: Any) -> None:
    run = start_load(start_cell("direct", "round_robin").target)
    assert run.end() == 0, run.stderr
    streams = {row["request_id"]: row for row in run.rows() if row["method"] != "AddVideo"}
    messages = run.rows("messages.csv")
    assert Counter(message["request_id"] for message in messages) == dict.fromkeys(streams, 2)
    assert all(message["replica"] == streams[message["request_id"]]["replica"] for message in messages)


def test_the_channels_file_holds_what_grpc_reports(start_cell: StartCell, start_load: Any) -> None:
    run = start_load(start_cell("direct", "round_robin").target)
    assert run.end() == 0, run.stderr
    channels = json.loads((run.folder / "channels.json").read_text())
    assert [(one["client"], one["channels"], one["policy"]) for one in channels] == [
        (client, 1, "round_robin") for client in range(OPEN.clients)
    ]
    subchannels = [number for one in channels for number in one["subchannels"]]
    assert len(subchannels) == len(set(subchannels)) == OPEN.clients * 3


def test_ring_hash_takes_the_sessions_key_in_the_load_process(start_cell: StartCell, start_load: Any) -> None:
    load = replace(OPEN, clients=20)
    run = start_load(start_cell("direct", "ring_hash").target, load, policy="ring_hash")
    assert run.end() == 0, run.stderr
    rows = run.rows()
    assert {row["code"] for row in rows} == {"OK"}
    homes = {(row["client"], row["replica"]) for row in rows}
    assert (len(homes), len({replica for _, replica in homes})) == (20, 3)


@pytest.mark.calm
def test_an_open_loop_keeps_its_plan_while_replicas_are_slow(start_cell: StartCell, start_load: Any) -> None:
    live = start_cell(
        *("direct", "round_robin"),
        **{"count": 1, "slots": 1, "service_time_ms": {"distribution": "constant", "mean": 50}},
    )
    load = replace(OPEN, clients=2, rate_per_s=60, calls={"AddVideo": 1.0})
    run = start_load(live.target, load, warm_up_s=0, duration_s=1)
    assert run.end() == 0, run.stderr
    rows, start_ns = run.rows(), run.status()["measure_start_ns"]
    planned = sum(len(list(open_loop(load, client, "measure", 1, True))) for client in range(2))
    assert len(rows) == planned
    # Three times the replica's capacity: answers come late, calls are still sent on time.
    opened_ns = max(min(row["done_ns"] for row in rows if row["client"] == client) for client in (0, 1))
    sent_in_time = [row for row in rows if row["sent_ns"] - start_ns <= 1.1 * NS_PER_S]
    assert opened_ns - start_ns < NS_PER_S
    assert len(sent_in_time) == len(rows)
    assert max(row["done_ns"] for row in rows) - start_ns > 2 * NS_PER_S
    assert max(row["in_flight"] for row in rows) > 10
    assert not (run.folder / "messages.csv").exists()  # because there are no streams


@pytest.mark.calm
def test_a_closed_loop_waits_for_answers(start_cell: StartCell, start_load: Any) -> None:
    live = start_cell(
        *("direct", "round_robin"),
        **{"count": 1, "slots": 8, "service_time_ms": {"distribution": "constant", "mean": 20}},
    )
    load = replace(OPEN, rate_per_s=None, think_time_ms=10.0, calls={"AddVideo": 1.0})
    run = start_load(live.target, load)
    assert run.end() == 0, run.stderr
    status = run.status()
    for client in range(3):
        rows = [row for row in run.rows() if row["client"] == client]
        assert len(rows) > 10
        for earlier, later in itertools.pairwise(rows):
            assert later["planned_ns"] >= earlier["done_ns"]
        # In every arm the measured requests have the same ids, however many the warm-up made.
        ids = {phase: [] for phase in (False, True)}
        for row in rows:
            ids[row["planned_ns"] >= status["measure_start_ns"]].append(row["request_id"])
        for measured, found in ids.items():
            first = client * REQUEST_IDS_PER_CLIENT + measured * CLOSED_LOOP_MEASURED
            assert found == list(range(first, first + len(found)))
        # The next call would follow after about 30 ms, but the window has ended.
        last_ns = rows[-1]["planned_ns"]
        assert status["measure_start_ns"] < last_ns < status["measure_end_ns"]


@pytest.mark.calm
def test_sigterm_ends_early_with_every_finished_call_on_disk(start_cell: StartCell, start_load: Any) -> None:
    live = start_cell("direct", "round_robin")
    run = start_load(live.target, duration_s=30)
    run.await_answers(60)
    answered_before = run.status()["answered"]
    run.process.send_signal(signal.SIGTERM)
    assert run.end() == STOPPED_EARLY, run.stderr
    rows = run.rows()
    assert len(rows) == run.status()["answered"] >= answered_before
    assert run.status()["state"] != "done"
    # The replicas' ledgers may have more rows: open calls, at most those sent in 0.2 s.
    served = sum(
        len((run.folder.parent / f"{name}.csv").read_text().splitlines()) - 1 for name in live.replicas
    )
    assert served - 24 <= len(rows) <= served


def test_locusts_own_statistics_count_the_same(start_cell: StartCell, start_load: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    load = replace(OPEN, calls={"AddVideo": 1.0, "GetVideo": 1.0})
    run = start_load(start_cell("direct", "round_robin").target, load, web_port=port, duration_s=30)
    run.await_answers(40)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats/requests", timeout=5) as response:
        *rows, aggregated = json.load(response)["stats"]
    counted_after = run.status()["answered"]
    assert {row["method"] for row in rows} == set(load.calls)
    assert {row["name"] for row in rows} == {"replica-0", "replica-1", "replica-2"}
    assert 40 <= aggregated["num_requests"] <= counted_after
    assert aggregated["num_requests"] == sum(row["num_requests"] for row in rows)
    assert aggregated["num_failures"] == 0


def test_calls_that_fail_are_rows_and_locusts_failures(start_load: Any) -> None:
    load = replace(OPEN, calls={"AddVideo": 1.0})
    run = start_load("127.0.0.1:1", load, warm_up_s=0)
    assert run.end() == 0, run.stderr
    rows = run.rows()
    assert {row["code"] for row in rows} == {"UNAVAILABLE"}
    assert {row["replica"] for row in rows} == {""}


@pytest.mark.parametrize(
    "load",
    [
        replace(OPEN, calls={"NoSuchCall": 1.0}),
        replace(OPEN, calls={"NoSuchCall": 1.0}, rate_per_s=None, think_time_ms=1.0),
    ],
    ids=["open", "closed"],
)
def test_an_error_in_the_engine_ends_the_load_at_once(load: Load, start_load: Any) -> None:
    run = start_load("127.0.0.1:1", load, duration_s=25)
    assert run.end() not in (0, STOPPED_EARLY)
    assert "KeyError: 'NoSuchCall'" in run.stderr
    assert "never retrieved" not in run.stderr


@pytest.mark.calm
def test_the_status_file_says_at_once_that_measuring_begins(start_cell: StartCell, start_load: Any) -> None:
    # Batches are five seconds apart here, so an earlier status was not written with a batch.
    slow = "import load.row_batches as it; it.BATCH_INTERVAL_S = 5"
    program = f"import sys, load.main; {slow}; sys.exit(load.main.main())"
    run = start_load(start_cell("direct", "round_robin").target, program=program, warm_up_s=0.3)
    while run.status()["state"] != "measure":
        assert run.process.poll() is None, run.end()
        time.sleep(0.005)
    noticed_ns, start_ns = time.monotonic_ns() - run.epoch_ns, run.status()["measure_start_ns"]
    assert noticed_ns - start_ns < 1 * NS_PER_S
    assert run.end() == 0, run.stderr


def test_an_order_that_cannot_be_read_fails(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "load.main", str(tmp_path / "none.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode not in (0, STOPPED_EARLY)
    assert "none.json" in done.stderr


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.timeout(30)
def test_the_end_of_the_last_call_ends_the_load_between_two_batches(
    start_cell: StartCell, start_load: Any, processes: int
) -> None:
    slow = "import load.row_batches as it; it.BATCH_INTERVAL_S = 3600"
    slow += "; import load.worker_session as it; it.BATCH_INTERVAL_S = 3600"
    program = f"import sys, load.main; {slow}; sys.exit(load.main.main())"
    run = start_load(start_cell("direct", "round_robin").target, program=program, processes=processes)
    assert run.end() == 0, run.stderr
    assert run.status()["answered"] == len(run.rows()) > 0
