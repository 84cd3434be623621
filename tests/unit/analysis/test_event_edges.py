"""Which requests belong to an event, at the edges of its interval and of the measured window."""

from dataclasses import asdict

import pytest

from harness.analysis.facts import collect_facts
from harness.analysis.validity import measure
from harness.record.event_log import StepTaken
from tests.unit.analysis.test_event_effects import CRASH, KILLED, ONE, SEEN, WROTE, ZERO, A, B, C, at, failed
from tests.unit.synthetic.handwritten_cell import MS, asked, endpoint, took_effect, write_cell

STEPS = [StepTaken(t_ns=105 * MS, number=1, do="stop", target=ZERO)]
ENDPOINTS = [endpoint(1, ZERO, "healthy"), endpoint(1, ONE, "healthy"), endpoint(110, ZERO, "absent")]


INSTANTS = ("planned_ns", "ready_ns", "sent_ns", "done_ns", "t_ns")


def rows_later(rows, by_ms):
    return [row | {name: row[name] + by_ms * MS for name in INSTANTS if name in row} for row in rows]


def lines_later(lines, by_ms):
    """Lines of events.jsonl that much later."""
    return [
        line.model_copy(
            update={name: value + by_ms * MS for name, value in dict(line).items() if name in INSTANTS}
        )
        for line in lines
    ]


def facts_of(folder, rows, *events, from_ms=0, **more):
    folder.mkdir(exist_ok=True)
    window = {"measure_start_ns": from_ms * MS, "measure_end_ns": (from_ms + 1000) * MS}
    return collect_facts(write_cell(folder, rows, events=events, **window, **more))


def crash_from(folder, from_ms):
    lines = lines_later([*ENDPOINTS, *KILLED, *STEPS, *SEEN], from_ms)
    return facts_of(
        folder, rows_later(CRASH, from_ms), *lines, from_ms=from_ms, replica=WROTE, incomplete_ledgers=[ZERO]
    )


def test_when_measuring_began_changes_no_figure(tmp_path):
    early, late = (crash_from(tmp_path / str(from_ms), from_ms) for from_ms in (0, 7000))
    assert [asdict(event) for event in early.events] == [asdict(event) for event in late.events]
    assert measure(early).values == measure(late).values
    assert measure(early).values["endpoints.healthy_min"] == 1


def test_instants_count_from_the_start_of_measuring(tmp_path):
    kill = crash_from(tmp_path, 7000).events[0]
    assert (kill.at_s, kill.length_s) == (0.1, 0.25)
    assert kill.effects == ((0.13, ZERO, "process ended"), (0.14, ZERO, "process ended"))
    assert kill.steps == ((0.105, "stop", ZERO),)
    assert kill.took_effect_ns == 40 * MS


def test_an_event_outside_of_the_window_is_put_at_its_edge(tmp_path):
    rows = [at(A, 0, ZERO), at(A + 1, 999, ZERO)]
    before, after = facts_of(tmp_path, rows, asked(1, -5, "slow", ZERO), asked(2, 1500, "heal", ZERO)).events
    assert (before.requests, before.length_s) == (2, 1.0)
    assert (after.requests, after.length_s) == (0, 0.0)


def test_a_request_that_is_planned_when_an_event_comes_belongs_to_it(tmp_path):
    rows = [at(A, 99, ZERO), at(A + 1, 100, ZERO), at(A + 2, 200, ZERO)]
    events = facts_of(tmp_path, rows, asked(1, 100, "slow", ZERO), asked(2, 200, "heal", ZERO)).events
    assert [event.requests for event in events] == [1, 1]


@pytest.mark.parametrize(("took_ms", "blamed"), [(99, [1, 0]), (100, [0, 1]), (101, [0, 1])])
def test_a_call_is_broken_by_what_came_before_its_end(tmp_path, took_ms, blamed):
    rows = [failed(A, 100, took_ms), at(A + 1, 500, ONE)]
    events = facts_of(tmp_path, rows, asked(1, 50, "slow", ONE), asked(2, 200, "kill", ZERO)).events
    assert [sum(event.errors.values()) for event in events] == blamed


@pytest.mark.parametrize(("planned_ms", "blamed"), [(199, [0, 1]), (200, [0, 1])])
def test_or_by_what_came_when_it_was_planned(tmp_path, planned_ms, blamed):
    rows = [failed(A, planned_ms, 10), at(A + 1, 500, ONE)]
    events = facts_of(tmp_path, rows, asked(1, 50, "slow", ONE), asked(2, 200, "kill", ZERO)).events
    assert [sum(event.errors.values()) for event in events] == blamed


def test_the_last_of_two_breaks_is_to_blame(tmp_path):
    rows = [failed(A, 90, 300)]
    events = facts_of(tmp_path, rows, asked(1, 100, "kill", ZERO), asked(2, 200, "kill", ONE)).events
    assert [sum(event.errors.values()) for event in events] == [0, 1]


def test_delayed_is_more_than_twice_what_was_usual(tmp_path):
    usual = [at(A + n, n, ZERO, 3) for n in range(10)]
    rows = [*usual, at(A + 10, 200, ZERO, 6), at(A + 11, 210, ZERO, 7), failed(A + 12, 220, 50)]
    (event,) = facts_of(tmp_path, rows, asked(1, 100, "slow", ZERO)).events
    assert event.delayed == 1


def test_what_failed_before_the_first_event_is_not_what_was_usual(tmp_path):
    rows = [at(A, 10, ZERO, 3), failed(A + 1, 20, 70), at(A + 2, 200, ZERO, 30)]
    (event,) = facts_of(tmp_path, rows, asked(1, 100, "slow", ZERO)).events
    assert event.delayed == 1


@pytest.mark.parametrize(
    ("effect_ms", "pinned"),
    [
        (None, 1),  # no effect was seen, so it counts from when it was asked for
        (100, 1),
        (150, 1),
        (161, 0),  # only one answer after that time
        (200, 1),  # the effect came too late, so it counts from when it was asked for
        (250, 1),
    ],
)
def test_sessions_have_settled_once_the_event_before_had_taken_effect(tmp_path, effect_ms, pinned):
    rows = [at(A + n, 110 + 25 * n, ZERO) for n in range(4)]  # at 110, 135, 160 and 185 ms
    seen = [] if effect_ms is None else [took_effect(1, effect_ms, ZERO)]
    lines = [asked(1, 100, "slow", ZERO), *seen, asked(2, 200, "slow", ONE)]
    for from_ms in (0, 300):
        folder = tmp_path / str(from_ms)
        facts = facts_of(folder, rows_later(rows, from_ms), *lines_later(lines, from_ms), from_ms=from_ms)
        assert facts.events[1].migration.pinned == pinned


def test_sessions_that_moved_before_the_effect_are_pinned_all_the_same(tmp_path):
    rows = [at(A, 110, ZERO), *(at(A + n, 150 + n, ONE) for n in range(1, 4))]
    lines = [asked(1, 100, "kill", ZERO), took_effect(1, 140, ZERO), asked(2, 200, "slow", ONE)]
    assert facts_of(tmp_path, rows, *lines).events[1].migration.pinned == 1


def test_half_of_the_sessions_pinned_are_enough_to_speak_of_moves(tmp_path):
    def moves(name, *homes):
        rows = [
            at(client + n, 10 * n, replica)
            for client, pair in zip((A, B, C), homes, strict=False)
            for n, replica in enumerate(pair)
        ]
        (event,) = facts_of(tmp_path / name, rows, asked(1, 100, "slow", ONE)).events
        return event.migration.seen, event.migration.pinned, event.migration.moved_over_needed

    assert moves("half", (ZERO, ZERO), (ZERO, ONE)) == (2, 1, 0)
    assert moves("less", (ZERO, ZERO), (ZERO, ONE), (ONE, ZERO)) == (3, 1, None)


def test_who_returns_was_pinned_before_the_last_loss(tmp_path):
    rows = [
        *(at(A + n, 10 + 10 * n, ZERO) for n in range(2)),  # before the first kill on replica-0: A alone
        *(at(B + n, 10 + 10 * n, ONE) for n in range(2)),
        *(at(A + n, 150 + 10 * n, ONE) for n in range(2, 4)),
        *(at(A + n, 210 + 10 * n, ONE) for n in range(4, 6)),
        *(at(B + n, 210 + 10 * n, ZERO) for n in range(2, 4)),  # before the second: B alone
        at(A + 6, 450, ONE),
        at(B + 4, 450, ZERO),
    ]
    kills = [(1, 100, "kill"), (2, 200, "start"), (3, 300, "kill"), (4, 400, "start")]
    events = facts_of(tmp_path, rows, *(asked(number, at_ms, do, ZERO) for number, at_ms, do in kills)).events
    assert [event.migration.returned_share for event in events] == [None, 0, None, 1]


def test_who_answers_first_is_one_that_came(tmp_path):
    rows = [at(A, 110, ZERO, 1), at(A + 1, 120, ONE, 60), at(A + 2, 150, ONE, 5), at(A + 3, 400, ONE)]
    (event,) = facts_of(tmp_path, rows, asked(1, 100, "start", ONE)).events
    assert event.first_answer_ns == 55 * MS  # the first that ended, not the first that was planned


def test_failures_of_a_session_count_once_and_the_last_ends_last(tmp_path):
    rows = [failed(A, 110, 80), failed(A + 1, 120, 5), failed(B, 130, 5), at(C, 140, ONE)]
    (event,) = facts_of(tmp_path, rows, asked(1, 100, "slow", ZERO)).events
    assert (event.failed_sessions, event.last_failure_ns) == (2, 90 * MS)
    assert (event.requests, event.ok, event.answered, event.on_targets) == (4, 1, 1, 0)


def test_metrics_are_of_the_event_with_that_number(tmp_path):
    rows = [at(A, 150, ZERO), *(at(A + n, 250 + n, ZERO) for n in range(1, 4))]
    facts = facts_of(tmp_path, rows, asked(1, 100, "slow", ZERO), asked(2, 200, "heal", ZERO))
    values = measure(facts).values
    assert [values[f"event{number}.requests"] for number in (1, 2, 3)] == [1, 3, None]
    assert [values[f"event{number}.error_share"] for number in (1, 2)] == [0, 0]
