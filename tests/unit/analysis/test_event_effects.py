"""Effects of events: compared with counts by hand, and properties of all events."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.analysis.facts import collect_facts
from harness.analysis.validity import measure
from harness.events.registry import EVENT_KINDS
from harness.metrics.event_metrics import EVENT_METRICS, event_metric
from harness.metrics.registry import METRICS
from tests.unit.synthetic.handwritten_cell import MS, asked, endpoint, row, took_effect, write_cell
from tests.unit.thorough import examples


def at(request_id, at_ms, replica, took_ms=2, code="OK", **more):
    """One request, sent when it was planned."""
    times = {
        "planned_ns": int(at_ms * MS),
        "sent_ns": int(at_ms * MS),
        "done_ns": int((at_ms + took_ms) * MS),
    }
    return row(request_id, replica, code=code, **{**times, **more})


def failed(request_id, at_ms, took_ms=2, replica="", code="UNAVAILABLE"):
    return at(request_id, at_ms, replica, took_ms, code)


A, B, C = 0, 10**9, 2 * 10**9  # first requests of three clients, one session each
ZERO, ONE = "replica-0", "replica-1"
CRASH = [
    *(at(A + n, 10 * n, ZERO) for n in range(10)),
    *(at(B + n, 10 * n, ONE) for n in range(10)),
    failed(A + 10, 101, 5),  # replica-0 was killed at 100 ms
    failed(A + 11, 120, 9, replica=ZERO, code="CANCELLED"),
    at(A + 12, 150, ONE, 30),
    at(B + 10, 110, ONE, 3),
    at(A + 13, 300, ONE),
    at(B + 11, 300, ONE),
    at(A + 14, 400, ZERO),  # and started at 350 ms
]
KILLED = [asked(1, 100, "kill", ZERO, for_s=0.25), asked(2, 350, "start", ZERO, undoes=1)]
SEEN = [took_effect(1, 140, ZERO), took_effect(1, 130, ZERO), took_effect(2, 360, ZERO)]
# replica-0 wrote a row with OK for the request that failed there.
WROTE = [(entry["request_id"], entry["replica"]) for entry in CRASH if entry["replica"]]


@pytest.fixture
def crash(tmp_path):
    cell = write_cell(tmp_path, CRASH, events=[*KILLED, *SEEN], replica=WROTE, incomplete_ledgers=[ZERO])
    return measure(collect_facts(cell)).values


def of_event(values, number):
    return {name: values[f"event{number}.{name}"] for name in EVENT_METRICS}


def test_a_crash_by_hand(crash):
    found = of_event(crash, 1)
    expected = {
        "requests": 6,
        "failed_requests": 2,
        "error_share": pytest.approx(1 / 3),
        "failed_sessions": 1,
        "last_failure_ms": 29,  # planned at 120, took 9, the event was at 100
        "delayed_requests": 1,  # more than 2 x 2 ms
        "longest_gap_ms": 79,  # from 101 to 180
        "pinned_sessions": 2,
        "moved_sessions": 1,
        "needed_moves": 1,
        "moved_over_needed": 1,
        "breaks": 1,
        "returned_share": None,
        "first_answer_ms": None,
        "fair_share_after_ms": None,
        "target_share": pytest.approx(1 / 5),  # the cancelled one names it
        "lost_answers": 1,
        "attempts_per_request": pytest.approx(5 / 6),
        "goodput_per_s": pytest.approx(4 / 0.25),
        "latency_p50_ms": 3,  # of 2, 2, 3, 30 and two that failed
        "latency_p99_ms": None,  # of six requests
        "ok_latency_p50_ms": None,  # of four
        "ok_latency_p99_ms": None,
        "took_effect_ms": 40,
    }
    assert found == expected


@pytest.mark.parametrize(("do", "failed_by_event"), [("kill", [0, 1, 0]), ("add", [1, 0, 0])])
def test_what_breaks_a_call_that_is_under_way_causes_its_failure(tmp_path, do, failed_by_event):
    rows = [at(A, 90, ZERO), at(A + 1, 150, "", 60, "UNAVAILABLE"), at(A + 2, 290, ONE)]
    events = [asked(1, 100, "slow", ONE), asked(2, 200, do, ZERO), asked(3, 205, "start", ZERO)]
    values = measure(collect_facts(write_cell(tmp_path, rows, events=events, route="direct"))).values
    assert [values[f"event{number}.failed_requests"] for number in (1, 2, 3)] == failed_by_event
    assert (
        values["event1.error_share"] == 1
    )  # it was planned in its interval, whichever event caused the failure


def test_the_return_by_hand(crash):
    found = of_event(crash, 2)
    assert found["requests"] == 1
    assert found["failed_requests"] == found["last_failure_ms"] == found["failed_sessions"] == 0
    assert found["returned_share"] == 1  # of the sessions with an answer since, that had been on it
    assert found["pinned_sessions"] == 1  # from 140 ms on: A was answered twice, B once
    assert found["moved_sessions"] == found["needed_moves"] == 1  # to the replica that came
    assert found["target_share"] == 1
    assert found["first_answer_ms"] == 52  # planned at 400, took 2, the event was at 350
    assert found["fair_share_after_ms"] == 650  # never: too few answers to decide
    assert crash["event3.requests"] is None


def test_the_whole_window_by_hand(crash):
    assert crash["answers_lost"] == 1
    assert crash["longest_gap_ms"] == 79


def test_a_session_that_never_gets_an_answer_waits_to_the_end(tmp_path):
    values = measure(collect_facts(write_cell(tmp_path, [failed(A, 400), failed(A + 1, 900)]))).values
    assert values["longest_gap_ms"] == 600


def test_without_events_there_are_no_metrics_of_them(tmp_path):
    facts = collect_facts(write_cell(tmp_path, CRASH, incomplete_ledgers=[ZERO]))
    assert facts.events == []
    assert {value for name, value in measure(facts).values.items() if event_metric(name)} == {None}
    assert facts.healthy.minimum is None


def test_who_waits_before_the_first_event_is_not_of_it(tmp_path):
    rows = [failed(A, 10), failed(A + 1, 20), at(A + 2, 500, ZERO)]
    values = measure(collect_facts(write_cell(tmp_path, rows, events=[asked(1, 100, "slow", ONE)]))).values
    assert values["longest_gap_ms"] == 492
    assert values["event1.longest_gap_ms"] == 2
    assert values["event1.delayed_requests"] is None  # nothing was answered before


# What pinned sessions of replica-0 (A) and replica-1 (B, C) do afterwards.
@pytest.mark.parametrize(
    ("do", "target", "after", "moved", "needed"),
    [
        ("drain", ZERO, {A: ONE, B: ONE, C: ONE}, 1, 1),
        ("drain", ZERO, {A: ZERO, B: ONE, C: ONE}, 0, 1),  # its old sessions may stay
        ("remove", ONE, {A: ZERO, B: ZERO, C: ZERO}, 2, 2),
        ("remove", ONE, {A: ONE, B: ZERO, C: ZERO}, 3, 2),  # A had no reason
        ("roll", ZERO, {A: ONE, B: ONE}, 1, 1),
        ("add", "replica-2", {A: "replica-2", B: ONE, C: ONE}, 1, 1),
        ("add", "replica-2", {A: ONE, B: "replica-2", C: ONE}, 2, 1),
        ("serving", ONE, {A: ONE, B: ONE, C: ONE}, 1, 1),  # B and C never left
        ("fail", ZERO, {A: ONE, B: ONE, C: ONE}, 1, 0),
        ("weight", ZERO, {A: ZERO, B: ZERO, C: ZERO}, 2, 0),
        ("proxy_restart", "envoy", {A: ONE, B: ONE, C: ONE}, 1, 0),
        ("kill", ZERO, {B: ONE, C: ONE}, 0, 1),  # A got no answer any more
    ],
)
def test_who_moved_and_who_had_to(tmp_path, do, target, after, moved, needed):
    before = [at(client + n, 10 * n, ZERO if client == A else ONE) for client in (A, B, C) for n in range(3)]
    rows = [*before, *(at(client + 3, 200, replica) for client, replica in after.items())]
    replicas = {ZERO: "h:1", ONE: "h:2", "replica-2": "h:3"}
    cell = write_cell(
        tmp_path,
        rows,
        events=[asked(1, 100, do, target)],
        replicas=replicas,
        initial_replicas=[ZERO, ONE],
        route="direct",
    )
    values = measure(collect_facts(cell)).values
    assert (values["event1.pinned_sessions"], values["event1.moved_sessions"]) == (3, moved)
    assert values["event1.needed_moves"] == needed
    assert values["event1.moved_over_needed"] == moved / max(1, needed)
    assert (values["event1.target_share"] is None) == (target == "envoy")


def test_sessions_that_were_never_pinned_have_not_moved_in_vain(tmp_path):
    rows = [at(A + n, 10 * n, (ZERO, ONE)[n % 2]) for n in range(30)]
    values = measure(collect_facts(write_cell(tmp_path, rows, events=[asked(1, 150, "slow", ONE)]))).values
    assert values["event1.pinned_sessions"] == values["event1.moved_sessions"] == 0
    assert values["event1.moved_over_needed"] is None
    assert values["event1.breaks"] == 15


def test_a_break_is_not_counted_from_one_session_to_the_next(tmp_path):
    rows = [at(A, 10, ZERO), at(A + 1, 200, ZERO), at(B, 200, ONE), at(C, 200, ZERO), at(C + 1, 300, ONE)]
    values = measure(collect_facts(write_cell(tmp_path, rows, events=[asked(1, 100, "slow", ONE)]))).values
    assert values["event1.breaks"] == 1


def test_who_returns_is_told_of_the_replica_that_came_back_alone(tmp_path):
    """Both replicas are killed, and only replica-0 starts again. The session of replica-1 cannot return."""
    before = [at(client + n, 10 * n, ZERO if client == A else ONE) for client in (A, B) for n in range(3)]
    rows = [*before, *(at(client + 3, 500, ZERO) for client in (A, B))]
    events = [asked(1, 100, "kill", ZERO), asked(2, 110, "kill", ONE), asked(3, 400, "start", ZERO)]
    values = measure(collect_facts(write_cell(tmp_path, rows, events=events))).values
    assert values["event3.returned_share"] == 1
    both = [asked(1, 100, "kill", ZERO, ONE), asked(2, 400, "start", ZERO, ONE)]
    values = measure(collect_facts(write_cell(tmp_path, rows, events=both))).values
    assert values["event2.returned_share"] == 0.5


def test_an_answer_is_lost_when_the_replica_finished_and_the_client_failed(tmp_path):
    rows = [at(A, 0, ZERO), *(failed(A + n, 200) for n in range(1, 4)), failed(A + 4, 600)]
    replica = [(A, ZERO), (A + 1, ZERO), (A + 1, ONE), (A + 4, ONE)]  # the second was tried twice
    events = [asked(1, 100, "slow", ZERO), asked(2, 500, "heal", ZERO)]
    cell = write_cell(tmp_path, rows, events=events, replica=replica, max_attempts=2)
    values = measure(collect_facts(cell)).values
    assert (values["answers_lost"], values["event1.lost_answers"], values["event2.lost_answers"]) == (2, 1, 1)
    assert values["event1.attempts_per_request"] == pytest.approx(2 / 3)


def test_the_answer_to_a_call_that_was_under_way_is_lost_by_the_kill(tmp_path):
    rows = [at(A, 0, ZERO), failed(A + 1, 90, 20, replica=ZERO)]
    cell = write_cell(tmp_path, rows, events=[asked(1, 100, "kill", ZERO)], incomplete_ledgers=[ZERO])
    assert measure(collect_facts(cell)).values["event1.lost_answers"] == 1


def test_a_replica_that_came_has_its_share_at_the_end_of_a_window(tmp_path):
    """Windows are 50 ms, from the event at 100 ms on. The second window is the first even one."""
    early = [at(A + n, 100 + n, ZERO) for n in range(50)]
    late = [at(A + 50 + n, 150 + n, (ZERO, ONE)[n % 5 < 2]) for n in range(50)]  # 40 %: 80 % of a half
    cell = write_cell(
        tmp_path, [*early, *late], events=[asked(1, 100, "add", ONE)], initial_replicas=[ZERO], route="direct"
    )
    assert measure(collect_facts(cell)).values["event1.fair_share_after_ms"] == 100


def test_less_than_four_fifths_of_a_fair_share_is_not_enough(tmp_path):
    rows = [at(A + n, 100 + n, (ZERO, ONE)[n % 3 == 0]) for n in range(600)]
    cell = write_cell(
        tmp_path, rows, events=[asked(1, 100, "add", ONE)], initial_replicas=[ZERO], route="direct"
    )
    assert measure(collect_facts(cell)).values["event1.fair_share_after_ms"] == 900


def test_healthy_replicas_least_and_mean(tmp_path):
    lines = [endpoint(1, ZERO, "healthy"), endpoint(1, ONE, "healthy"), asked(1, 100, "kill", ZERO)]
    lines += [endpoint(200, ZERO, "unhealthy"), endpoint(700, ZERO, "healthy"), endpoint(1500, ONE, "absent")]
    values = measure(
        collect_facts(write_cell(tmp_path, CRASH, events=lines, incomplete_ledgers=[ZERO]))
    ).values
    assert values["endpoints.healthy_min"] == 1
    assert values["endpoints.healthy_mean"] == pytest.approx(2 - 0.5)


CALLS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 999), st.integers(1, 300), st.sampled_from([ZERO, ONE, ""])),
    min_size=1,
    max_size=25,
)
EVENTS = st.lists(
    st.tuples(st.integers(0, 1200), st.sampled_from(list(EVENT_KINDS)), st.sampled_from([ZERO, ONE])),
    max_size=5,
)


def synthetic(calls, events, folder):
    """Return a cell of these calls (client, planned, took, replica) and events (when, what, target)."""
    numbers = dict.fromkeys(range(3), 0)
    rows = []
    for client, at_ms, took_ms, replica in sorted(calls, key=lambda call: call[1]):
        code = "OK" if replica else "UNAVAILABLE"
        rows.append(at(client * 10**9 + numbers[client], at_ms, replica, took_ms, code))
        numbers[client] += 1
    lines = [asked(n, at_ms, do, target) for n, (at_ms, do, target) in enumerate(sorted(events), start=1)]
    return rows, write_cell(Path(folder), rows, events=lines, route="direct")


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.too_slow])
@given(CALLS, EVENTS)
def test_intervals_cut_the_window_and_counts_stay_within_bounds(calls, events):
    with tempfile.TemporaryDirectory() as folder:
        rows, cell = synthetic(calls, events, folder)
        facts = collect_facts(cell)
    first_ns = min((at_ms for at_ms, _, _ in events), default=1000) * MS
    before = [entry for entry in rows if entry["planned_ns"] < first_ns]
    assert len(before) + sum(event.requests for event in facts.events) == facts.requests == len(rows)
    assert sum(event.length_s for event in facts.events) == pytest.approx(max(0, 1 - first_ns / 1e9))
    failed_by_event = sum(sum(event.errors.values()) for event in facts.events)
    assert failed_by_event <= sum(facts.errors.values())
    for event in facts.events:
        assert event.migration.moved <= event.migration.pinned <= event.migration.seen
        assert event.migration.needed <= event.migration.pinned
        assert event.migration.needed == 0 or EVENT_KINDS[event.do].membership != "unchanged"
        assert event.failed_sessions <= sum(event.errors.values())
        assert event.ok <= event.requests
        assert event.on_targets is None or event.on_targets <= event.answered
        assert event.migration.returned_share is None or 0 <= event.migration.returned_share <= 1
        assert event.fair_share_after_ns is None or event.fair_share_after_ns <= event.length_s * 1e9 + 1
        assert event.attempts == event.answered
        for metric in METRICS:
            if (known := event_metric(metric)) and known[0] == event.number:
                value = METRICS[metric].compute(facts)
                assert value is None or value >= 0, metric


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.too_slow])
@given(CALLS, st.randoms())
def test_the_longest_gap_agrees_with_a_plain_search_whatever_the_order_of_rows(calls, random):
    with tempfile.TemporaryDirectory() as folder:
        rows, _ = synthetic(calls, [], folder)
        cell = write_cell(Path(folder), random.sample(rows, len(rows)), route="direct")
        facts = collect_facts(cell)
    gaps = []
    for entry in rows:
        later = [
            other["done_ns"]
            for other in rows
            if other["client"] == entry["client"]
            and other["request_id"] >= entry["request_id"]
            and other["code"] == "OK"
        ]
        gaps.append(min(later, default=1000 * MS) - entry["planned_ns"])
    assert facts.longest_outage_ns == max(gaps)
