"""events.jsonl, written and read back."""

import json
import time

import pytest

from harness.errors import UserError
from harness.record.event_log import (
    EVENTS,
    Collected,
    EndpointChange,
    EventLog,
    Line,
    PartsReady,
    StepTaken,
    read_endpoint_changes,
    read_events,
)
from harness.record.record_file import SCHEMA
from tests.unit.synthetic.handwritten_cell import MS, asked, endpoint, took_effect, write_cell, write_events

STAGES = [PartsReady(t_ns=5, pids={}), Collected(t_ns=9)]


def step(number, at_ms, do, target):
    return StepTaken(t_ns=at_ms * MS, number=number, do=do, target=target)


def test_an_event_has_what_came_of_it_wherever_its_lines_stand(tmp_path):
    lines = [
        took_effect(1, 30, "replica-1"),
        asked(2, 20, "start", "replica-0", undoes=1),
        asked(1, 10, "kill", "replica-0", "replica-1", for_s=0.01),
        step(2, 21, "start", "replica-0"),
        took_effect(1, 25, "replica-0"),
        *STAGES,
    ]
    kill, start = read_events(write_events(tmp_path, lines))
    assert (kill.number, kill.do, kill.targets, kill.t_ns) == (1, "kill", ["replica-0", "replica-1"], 10 * MS)
    assert [effect.target for effect in kill.effects] == ["replica-0", "replica-1"]
    assert (kill.undoes, start.undoes, kill.notification) == (None, 1, "somehow")
    assert kill.details == {"for_s": 0.01}
    assert start.steps == [step(2, 21, "start", "replica-0")]


def test_a_cell_without_events_has_none(tmp_path):
    cell = write_cell(tmp_path, [], events=STAGES)
    assert cell.events() == cell.endpoint_changes() == []
    (tmp_path / EVENTS).unlink()
    assert cell.events() == []


def test_endpoints_by_time(tmp_path):
    lines = [endpoint(9, "replica-0", "unhealthy"), endpoint(1, "replica-0", "healthy"), *STAGES]
    assert read_endpoint_changes(write_events(tmp_path, lines)) == [
        EndpointChange(t_ns=MS, replica="replica-0", state="healthy"),
        EndpointChange(t_ns=9 * MS, replica="replica-0", state="unhealthy"),
    ]


def test_the_log_begins_with_the_schema_and_stamps_its_lines(tmp_path):
    log = EventLog(tmp_path, time.monotonic_ns())
    log.write(asked(1, 0, "kill", "replica-0"))
    log.write(Collected())
    first, *others = map(json.loads, (tmp_path / EVENTS).read_text().splitlines())
    assert (first["event"], first["schema"]) == ("cell_started", SCHEMA)
    assert [line["event"] for line in others] == ["asked", "collected"]
    times_ns = [line["t_ns"] for line in (first, *others)]
    assert 0 < times_ns[0] < times_ns[1] < times_ns[2] < 10_000 * MS
    assert [event.do for event in read_events(tmp_path / EVENTS)] == ["kill"]


def test_every_kind_of_line_has_a_name_of_its_own():
    names = [model.model_fields["event"].default for model in Line.__subclasses__()]
    assert len(set(names)) == len(names)


def test_a_line_that_a_kill_has_torn_is_dropped(tmp_path):
    path = write_events(tmp_path, [asked(1, 10, "kill", "replica-0")])
    path.write_text(path.read_text() + '{"t_ns": 7, "event": "ask')
    assert len(read_events(path)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected a JSON object with event, one of cell_started, parts_ready, "),
        ("[]", "expected a JSON object with event"),
        ('{"t_ns": 1}', "expected a JSON object with event"),
        ('{"t_ns": 1, "event": "paused"}', "expected a JSON object with event"),
        ('{"t_ns": 1, "event": []}', "expected a JSON object with event"),
        ('{"event": "collected"}', "key 't_ns' is missing"),
        ('{"t_ns": 1.5, "event": "collected"}', "t_ns: 1.5 is not a whole number"),
        ('{"t_ns": 1, "event": "collected", "pids": {}}', "unknown key 'pids'"),
        ('{"t_ns": 1, "event": "asked", "number": 1}', "key 'do' is missing"),
        ('{"t_ns": 1, "event": "endpoint", "replica": "replica-0"}', "key 'state' is missing"),
    ],
)
def test_a_damaged_line_is_one_clear_error(tmp_path, text, message):
    path = write_events(tmp_path, STAGES)
    path.write_text(path.read_text() + text + "\n")
    for read in (read_events, read_endpoint_changes):
        with pytest.raises(UserError, match=rf"events.jsonl: line 4: {message}"):
            read(path)


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ('{"t_ns": 1, "event": "parts_ready", "pids": {}}', f"with schema {SCHEMA}, found schema None"),
        ('{"schema": 1, "t_ns": 1, "event": "cell_started"}', "schema 1 was written by lb-lab 0.1; install"),
        ("nonsense", f"with schema {SCHEMA}, found schema None"),
    ],
)
def test_a_log_of_another_schema_is_refused(tmp_path, first, message):
    (tmp_path / EVENTS).write_text(first + "\n")
    with pytest.raises(UserError, match=f"events.jsonl: line 1: .*{message}"):
        read_events(tmp_path / EVENTS)
