"""What the figures make of every kind of event: what it breaks, what it takes from sessions, what it brings.

The table is written by hand, and holds for figures alone: it knows nothing of how the code tells kinds apart.
"""

from dataclasses import dataclass

import pytest

from harness.facts import collect_facts
from harness.judge import measure
from harness.spec_events import DOINGS
from tests.unit.right.test_incidents import ONE, ZERO, A, B, at
from tests.unit.right.tiny import asked, write_cell


@dataclass(frozen=True)
class Kind:
    """breaks: fails calls that are under way. takes: sessions have to leave its targets.

    leaves: its targets take no part in the load afterwards. brings: its targets may get sessions again.
    """

    breaks: bool = False
    takes: bool = False
    leaves: bool = False
    brings: bool = False


BRINGS, NEITHER = Kind(brings=True), Kind()
KINDS = {
    "kill": Kind(breaks=True, takes=True, leaves=True),
    "stop": Kind(breaks=True, takes=True, leaves=True),
    "pause": Kind(breaks=True, takes=True, leaves=True),
    "drain": Kind(breaks=True, takes=True, leaves=True),
    "partition": Kind(breaks=True, takes=True, leaves=True),
    "not_serving": Kind(takes=True, leaves=True),
    "remove": Kind(takes=True, leaves=True),
    "roll": Kind(breaks=True, takes=True),
    "proxy_restart": Kind(breaks=True),
    "proxy_drain": Kind(breaks=True),
    "start": BRINGS,
    "resume": BRINGS,
    "serving": BRINGS,
    "add": BRINGS,
    "rejoin": BRINGS,
    "slow": NEITHER,
    "fail": NEITHER,
    "heal": NEITHER,
    "weight": NEITHER,
    "limit_cpu": NEITHER,
    "unlimit_cpu": NEITHER,
}
every_kind = pytest.mark.parametrize("do", KINDS)


def values_of(folder, rows, *events):
    cell = write_cell(folder, rows, events=events, route="direct", first_replicas=[ZERO, ONE])
    facts = collect_facts(cell)
    return measure(facts).values, facts.events


def test_the_table_knows_every_kind():
    assert set(KINDS) == set(DOINGS)


@every_kind
def test_a_call_that_was_under_way_is_put_down_to_what_breaks_calls(tmp_path, do):
    rows = [at(A, 120, "", 100, "UNAVAILABLE"), at(B, 300, ONE)]
    values, _ = values_of(tmp_path, rows, asked(1, 100, "slow", ONE), asked(2, 200, do, ZERO))
    assert [values[f"event{number}.failed_requests"] for number in (1, 2)] == (
        [0, 1] if KINDS[do].breaks else [1, 0]
    )


@every_kind
def test_who_was_on_a_target_had_to_leave_what_takes_it_away(tmp_path, do):
    rows = [at(A + n, 10 * n, ZERO) for n in range(3)] + [at(A + 3, 200, ONE)]
    values, events = values_of(tmp_path, rows, asked(1, 100, do, ZERO))
    assert (values["event1.moved_sessions"], values["event1.needed_moves"]) == (1, int(KINDS[do].takes))
    assert events[0].present == (1 if KINDS[do].leaves else 2)


@every_kind
def test_who_went_to_a_target_had_to_where_the_event_brings_it(tmp_path, do):
    rows = [at(A + n, 10 * n, ZERO) for n in range(3)] + [at(A + 3, 200, ONE)]
    values, _ = values_of(tmp_path, rows, asked(1, 100, do, ONE))
    brings = KINDS[do].brings
    assert (values["event1.moved_sessions"], values["event1.needed_moves"]) == (1, int(brings))
    assert values["event1.first_answer_ms"] == (102 if brings else None)
    assert (values["event1.fair_share_after_ms"] is not None) is brings


@every_kind
def test_a_replica_that_was_brought_takes_part(tmp_path, do):
    _, events = values_of(tmp_path, [at(A, 10, ONE)], asked(1, 100, "remove", ZERO), asked(2, 200, do, ZERO))
    assert events[0].present == 1
    assert events[1].present == (2 if KINDS[do].brings else 1)


@every_kind
def test_sessions_return_to_what_was_taken_away_alone(tmp_path, do):
    rows = [at(A + n, 10 * n, ZERO) for n in range(3)] + [at(A + 3, 200, ONE), at(A + 4, 400, ZERO)]
    values, _ = values_of(tmp_path, rows, asked(1, 100, do, ZERO), asked(2, 300, "start", ZERO))
    assert values["event2.returned_share"] == (1 if KINDS[do].takes else None)


@every_kind
def test_sessions_return_by_what_brings_their_replica_back_alone(tmp_path, do):
    rows = [at(A + n, 10 * n, ZERO) for n in range(3)] + [at(A + 3, 200, ONE), at(A + 4, 400, ZERO)]
    values, _ = values_of(tmp_path, rows, asked(1, 100, "kill", ZERO), asked(2, 300, do, ZERO))
    assert values["event2.returned_share"] == (1 if KINDS[do].brings else None)
