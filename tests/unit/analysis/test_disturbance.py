"""A cell is disturbed by what the machine did, never by what the cell measured."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.disturbance import Lateness, disturbance_of, find_disturbance, lags_of, lateness_of
from harness.record.cell_record import write_machine
from tests.unit.synthetic.handwritten_cell import MS, row, write_cell
from tests.unit.synthetic.handwritten_machine import CALM, ROBBED, STOLEN, machine

IN_TIME = Lateness(3.0, 600.0, 1.0)
LATE = Lateness(212.4, 600.0, 1.0)


@pytest.mark.parametrize(
    ("lateness", "machine", "reason"),
    [
        (
            LATE,
            machine(ROBBED, ROBBED),
            "other processes took 1.7 of 2 CPU cores for 0.8 s; "
            "the generator sent 212 ms late at p99 (at most 50 ms)",
        ),
        (
            LATE,
            machine(STOLEN, STOLEN),
            "other virtual machines took 1.4 of 2 CPU cores for 1.2 s; "
            "the generator sent 212 ms late at p99 (at most 50 ms)",
        ),
        (
            Lateness(3.0, 600.0, 0.9),
            machine(CALM | {"others_share": 0.4}),
            "other processes took 0.8 of 2 CPU cores for 0.5 s; "
            "the generator sent 540 of 600 planned requests/s in time",
        ),
        (
            Lateness(60.0, 600.0, None),
            machine(),
            "no other process that took the machine was seen; "
            "the generator sent 60 ms late at p99 (at most 50 ms)",
        ),
        (
            Lateness(2350.4, 12_345.0, 0.5),
            None,
            "what took the machine is not known; the generator sent 2,350 ms late at p99 (at most 50 ms); "
            "the generator sent 6,172 of 12,345 planned requests/s in time",
        ),
        (
            LATE,
            None,
            "what took the machine is not known; the generator sent 212 ms late at p99 (at most 50 ms)",
        ),
        (
            LATE,
            machine(CALM | {"steal_share": None, "others_share": None}),
            "what took the machine is not known; the generator sent 212 ms late at p99 (at most 50 ms)",
        ),
        (
            Lateness(12.0, 600.0, 1.0),
            machine(ROBBED, ROBBED),
            "other processes took 1.7 of 2 CPU cores for 0.8 s; the generator sent 12 ms late at p99",
        ),
    ],
)
def test_the_reason_is_a_sentence_with_figures(lateness, machine, reason):
    found = find_disturbance(lateness, machine)
    assert found is not None
    assert found.reason == reason
    assert found.worth_repeating


@pytest.mark.parametrize(
    ("lateness", "machine"),
    [
        (IN_TIME, machine()),
        (IN_TIME, machine(ROBBED, ROBBED)),  # others had the machine, but no request was late
        (Lateness(49.9, 600.0, 1.0), machine()),
        (Lateness(12.0, 600.0, 1.0), machine(ROBBED, ROBBED | {"seconds": 0.2})),  # too short
        (Lateness(12.0, 600.0, 1.0), machine(ROBBED, ROBBED | {"seconds": 3.1})),  # it lasts
        (Lateness(3.0, 600.0, 0.951), None),
        (None, machine(ROBBED, ROBBED)),  # nothing was sent
    ],
)
def test_a_cell_whose_figures_are_not_spoilt_counts(lateness, machine):
    assert find_disturbance(lateness, machine) is None


FROZEN = {"part": "envoy", "how": "stopped", "at_s": 1.0, "seconds": 3.0}
ASLEEP = {"part": "this machine", "how": "asleep", "at_s": 2.0, "seconds": 60.0}
TOLD = "envoy was stopped (SIGSTOP) for 3.0 s, 1.0 s after measuring began, and no event did that"


@pytest.mark.parametrize(
    ("lateness", "interruptions", "cause", "reason"),
    [
        (IN_TIME, [FROZEN], "stopped", TOLD),
        (None, [FROZEN], "stopped", TOLD),  # a closed loop plans nothing
        (LATE, [FROZEN], "stopped", f"{TOLD}; the generator sent 212 ms late at p99 (at most 50 ms)"),
        (IN_TIME, [ASLEEP], "asleep", "this machine was asleep for 60.0 s, 2.0 s after measuring began"),
        (
            IN_TIME,
            [ASLEEP, FROZEN],
            "asleep",
            f"this machine was asleep for 60.0 s, 2.0 s after measuring began; {TOLD}",
        ),
    ],
)
def test_what_stood_still_disturbs_however_punctual_the_generator_was(lateness, interruptions, cause, reason):
    found = find_disturbance(lateness, machine(ROBBED, ROBBED, interruptions=interruptions))
    assert (found.reason, found.cause, found.worth_repeating) == (reason, cause, True)


def test_a_lab_that_fills_the_machine_by_itself_is_not_measured_again():
    found = find_disturbance(LATE, machine(lab_share=0.96))
    assert not found.worth_repeating
    assert found.reason.startswith("the lab's own processes took 1.9 of 2 CPU cores all the time; ")


@pytest.mark.parametrize(
    ("processes", "cores", "again"), [(1, 0.97, False), (2, 0.97, True), (2, 1.9, False)]
)
def test_load_processes_that_fill_their_cores_are_not_measured_again(processes, cores, again):
    found = find_disturbance(LATE, machine(load_cores=cores), processes)
    assert found.worth_repeating == again
    assert again or found.reason.startswith(f"the load itself took {cores:.1f} CPU cores all the time; ")


def sent(request_id, planned_ms, sent_ms, done_ms, **more):
    times = {"planned_ns": planned_ms * MS, "sent_ns": sent_ms * MS, "done_ns": done_ms * MS}
    return row(request_id, "replica-0", **times, **more)


def test_late_sends_disturb(tmp_path):
    rows = [sent(n, 10 * n, 10 * n + (200 if 50 < n < 70 else 0), 10 * n + 300) for n in range(99)]
    cell = write_cell(tmp_path, rows)
    write_machine(tmp_path, machine(ROBBED, ROBBED))
    assert disturbance_of(cell).reason.startswith("other processes took 1.7 of 2 CPU cores for 0.8 s; ")
    assert lateness_of(cell).lag_p99_ms == 200


@pytest.mark.parametrize("status", ["interrupted", "failed"])
def test_a_cell_that_did_not_complete_is_not_judged(tmp_path, status):
    rows = [sent(n, n, n + 500, n + 501) for n in range(30)]
    assert disturbance_of(write_cell(tmp_path, rows, status=status)) is None


@pytest.mark.parametrize("awaits_answers", [True, False])
def test_waiting_for_an_answer_on_purpose_does_not_disturb(tmp_path, awaits_answers):
    """The session's first answer takes 500 ms; the client sends the others 1 ms after it, or after each."""
    ready_ms = {n: 498 + 2 * n if awaits_answers else 500 for n in range(1, 30)}
    rows = [
        sent(0, 0, 0, 500),
        *(sent(n, 10 * n, at_ms + 1, 600, ready_ns=at_ms * MS) for n, at_ms in ready_ms.items()),
    ]
    cell = write_cell(tmp_path, rows, awaits_answers=awaits_answers)
    assert lateness_of(cell).lag_p99_ms == 1
    assert disturbance_of(cell) is None


def test_who_is_late_after_the_wait_is_late(tmp_path):
    rows = [sent(0, 0, 0, 10), *(sent(n, n, 190, 200, ready_ns=10 * MS) for n in range(1, 10))]
    assert lateness_of(write_cell(tmp_path, rows)).lag_p99_ms == 180


def test_what_crosses_the_windows_edge_is_not_in_time(tmp_path):
    rows = [sent(n, 10 * n, 10 * n + (0 if n < 85 else 160), 3000) for n in range(100)]
    lateness = lateness_of(write_cell(tmp_path, rows))
    assert lateness.in_time_share == pytest.approx(0.85)
    assert (
        "the generator sent 85 of 100 planned requests/s in time"
        in disturbance_of(write_cell(tmp_path, rows)).reason
    )


def test_the_rows_that_a_lost_worker_left_out_do_not_disturb(tmp_path):
    rows = [sent(n, 10 * n, 10 * n, 10 * n + 1) for n in range(40)]
    zeros = ("rows", "measured_requests", "offset_ns", "offset_uncertainty_ns", "ended_ns")
    lost = {"name": "load-worker-1", "host": "", "clients": [1], "planned_requests": 60, "ended": "lost"}
    cell = write_cell(tmp_path, rows, load_workers=[lost | dict.fromkeys(zeros, 0)], planned_requests=100)
    assert lateness_of(cell).in_time_share is None
    assert disturbance_of(cell) is None
    assert disturbance_of(write_cell(tmp_path, rows, planned_requests=100)) is not None


outcomes = st.lists(
    st.tuples(
        st.sampled_from(["OK", "UNAVAILABLE", "DEADLINE_EXCEEDED"]),
        st.sampled_from(["replica-0", "replica-1", ""]),
        st.integers(0, 5000),
    ),
    min_size=40,
    max_size=40,
)


@given(outcomes=outcomes, late_ms=st.integers(0, 120))
def test_no_answer_changes_the_lateness(outcomes, late_ms):
    """Codes, replicas and latencies of all answers are turned over."""
    rows = [sent(n, 10 * n + 10, 10 * n + 10 + late_ms, 10 * n + 200) for n in range(40)]
    other = [
        one | {"code": code, "replica": replica, "done_ns": one["sent_ns"] + latency_ms * MS}
        for one, (code, replica, latency_ms) in zip(rows, outcomes, strict=True)
    ]
    first, second = (lags_of(pl.LazyFrame(table)) for table in (rows, other))
    assert first.equals(second)
