"""What was planned and did not come: requests never sent, messages never received, answers too late."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.analysis.facts import collect_facts
from harness.analysis.validity import measure
from tests.unit.synthetic.handwritten_cell import MS, asked, message, row, write_cell
from tests.unit.thorough import examples

pytestmark = pytest.mark.whole_run

LOST = {
    **{"name": "load-worker-1", "host": "", "clients": [1], "rows": 0, "ended": "lost", "ended_ns": 0},
    **{"planned_requests": 40, "measured_requests": 10, "offset_ns": 0, "offset_uncertainty_ns": 0},
}


def values_of(folder, rows, **more):
    return measure(collect_facts(write_cell(folder, rows, **more))).values


def at(request_id, planned_ms, done_ms, code="OK", **more):
    instants = {"planned_ns": planned_ms * MS, "sent_ns": planned_ms * MS, "done_ns": done_ms * MS}
    return row(request_id, "replica-0", code=code, **{**instants, **more})


def test_requests_of_the_plan_that_have_no_row_were_never_sent(tmp_path):
    rows = [at(n, n, n + 1) for n in range(73)]
    early = at(99, 0, 1)  # of the warm-up
    window = {"measure_start_ns": 10 * MS, "measure_end_ns": 1000 * MS}
    waiting = {"planned_requests": 300, "awaits_answers": True}
    assert values_of(tmp_path, rows, **waiting)["unsent_requests"] == 227
    assert values_of(tmp_path, [early, *rows], **waiting, **window)["unsent_requests"] == 300 - 63
    assert values_of(tmp_path, rows, planned_requests=73)["unsent_requests"] == 0


def test_what_a_lost_worker_did_is_not_known(tmp_path):
    rows = [at(n, n, n + 1) for n in range(70)]
    assert values_of(tmp_path, rows, planned_requests=100, load_workers=[LOST])["unsent_requests"] == 0
    whole = LOST | {"ended": "done"}
    assert values_of(tmp_path, rows, planned_requests=100, load_workers=[whole])["unsent_requests"] == 30


def test_a_closed_loop_plans_no_requests(tmp_path):
    closed = {"planned_requests": 0, "planned_rate_per_s": None}
    assert values_of(tmp_path, [at(0, 0, 1)], **closed)["unsent_requests"] is None


def test_messages_of_broken_streams_are_missing(tmp_path):
    """Four streams of five messages: of one all came, of one three, of two none."""
    rows = [
        row(0, "replica-0", method="GetVideo", messages=5),
        row(1, "replica-0", method="ListVideos", messages=3, code="UNAVAILABLE"),
        row(2, "", method="GetVideo", messages=0, code="UNAVAILABLE"),
        row(3, "", method="GetVideos", messages=0, code="DEADLINE_EXCEEDED"),
        row(4, "replica-1"),  # no stream
        row(
            5, "", method="GetVideo", messages=0, code="UNAVAILABLE", planned_ns=2000 * MS
        ),  # not in the window
    ]
    messages = [
        *(message(0, "replica-0", number) for number in range(5)),
        *(message(1, "replica-0", number) for number in range(3)),
    ]
    values = values_of(tmp_path, rows, messages=messages, messages_per_stream=5)
    assert values["stream.missing_messages"] == 2 + 5 + 5
    assert values["stream.count"] == 2


def test_streams_without_any_message_miss_all(tmp_path):
    rows = [row(n, "", method="ListVideos", messages=0, code="UNAVAILABLE") for n in range(3)]
    assert values_of(tmp_path, rows, messages_per_stream=4)["stream.missing_messages"] == 12
    assert values_of(tmp_path, [row(0, "replica-0")], messages_per_stream=4)["stream.missing_messages"] == 0


def test_goodput_counts_answers_inside_the_window(tmp_path):
    rows = [
        at(0, 0, 1),
        at(1, 900, 999),
        at(2, 900, 1000),  # as the window ends
        at(3, 10, 5000),
        at(4, 20, 30, "UNAVAILABLE"),
    ]
    assert values_of(tmp_path, rows)["goodput_per_s"] == 2


def test_goodput_of_an_event_counts_answers_inside_its_interval(tmp_path):
    rows = [
        at(0, 0, 1),
        at(1, 0, 200),  # planned before the event, answered as it was asked for
        at(2, 250, 300),
        at(3, 250, 600),  # answered in the next interval
        at(4, 700, 1001),  # never in the window
    ]
    events = [asked(1, 200, "slow", "replica-0"), asked(2, 600, "heal", "replica-0")]
    values = values_of(tmp_path, rows, events=events)
    assert values["event1.goodput_per_s"] == pytest.approx(2 / 0.4)
    assert values["event2.goodput_per_s"] == pytest.approx(1 / 0.4)
    assert values["goodput_per_s"] == 4


@settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    requests=st.lists(st.tuples(st.integers(0, 999), st.integers(0, 1500), st.booleans()), max_size=30),
    cuts=st.lists(st.integers(1, 999), min_size=1, max_size=4, unique=True).map(sorted),
)
def test_the_intervals_goodput_adds_up_to_that_of_the_window(requests, cuts):
    rows = [
        at(0, 0, 0),
        *(
            at(n, planned, planned + took, "OK" if ok else "UNAVAILABLE")
            for n, (planned, took, ok) in enumerate(requests, 1)
        ),
    ]
    events = [asked(number, cut, "slow", "replica-0") for number, cut in enumerate(cuts, 1)]
    with tempfile.TemporaryDirectory() as folder:
        facts = collect_facts(write_cell(Path(folder), rows, events=events))
    before = sum(one["code"] == "OK" and one["done_ns"] < cuts[0] * MS for one in rows)
    assert before + sum(event.good_answers for event in facts.events) == facts.good_answers
    assert facts.good_answers <= facts.requests - sum(facts.errors.values())
