"""events.jsonl, read back."""

import json

import pytest

from harness.errors import UserError
from harness.record.events import EndpointChange, Step, read_endpoint_changes, read_events
from tests.unit.synthetic.handwritten_cell import MS, asked, endpoint, took_effect, write_cell

STAGES = [{"t_ns": 5, "event": "parts_ready", "pids": {}}, {"t_ns": 9, "event": "collected"}]


def written(tmp_path, lines):
    path = tmp_path / "events.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_an_event_has_what_came_of_it_wherever_its_lines_stand(tmp_path):
    lines = [
        took_effect(1, 30, "replica-1"),
        asked(2, 20, "start", "replica-0", undoes=1),
        asked(1, 10, "kill", "replica-0", "replica-1", for_s=0.01),
        {"event": "step", "number": 2, "t_ns": 21 * MS, "do": "start", "target": "replica-0"},
        took_effect(1, 25, "replica-0"),
        *STAGES,
    ]
    kill, start = read_events(written(tmp_path, lines))
    assert (kill.number, kill.do, kill.targets, kill.asked_ns) == (
        1,
        "kill",
        ("replica-0", "replica-1"),
        10 * MS,
    )
    assert [effect.target for effect in kill.effects] == ["replica-0", "replica-1"]
    assert (kill.undoes, start.undoes) == (None, 1)
    assert (kill.notification, dict(kill.details)) == ("somehow", {"for_s": 0.01})
    assert start.steps == (Step(21 * MS, "start", "replica-0"),)


def test_a_record_of_an_earlier_lab_has_none(tmp_path):
    cell = write_cell(tmp_path, [], events=STAGES)
    assert cell.events() == cell.endpoint_changes() == []
    (tmp_path / "events.jsonl").unlink()
    assert cell.events() == []
    assert (cell.torn, cell.proxy_torn, cell.awaits_answers) == (frozenset(), False, False)
    assert cell.first_replicas == list(cell.replicas)


def test_endpoints_by_time(tmp_path):
    path = written(
        tmp_path, [endpoint(9, "replica-0", "unhealthy"), endpoint(1, "replica-0", "healthy"), *STAGES]
    )
    assert read_endpoint_changes(path) == [
        EndpointChange(MS, "replica-0", "healthy"),
        EndpointChange(9 * MS, "replica-0", "unhealthy"),
    ]


def test_a_line_that_a_kill_has_torn_is_dropped(tmp_path):
    path = written(tmp_path, [asked(1, 10, "kill", "replica-0")])
    path.write_text(path.read_text() + '{"t_ns": 7, "event": "ask')
    assert len(read_events(path)) == 1


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"event": "asked"}', '{"t_ns": 1, "event": "asked", "number": 1}', '{"t_ns": 1}']
)
def test_a_damaged_line_is_one_clear_error(tmp_path, text):
    path = written(tmp_path, STAGES)
    path.write_text(path.read_text() + text + "\n")
    with pytest.raises(UserError, match=r"events.jsonl: line 3: expected"):
        read_events(path)


def test_an_endpoint_without_its_state_is_one_clear_error(tmp_path):
    path = written(tmp_path, [{"t_ns": 1, "event": "endpoint", "replica": "replica-0"}])
    with pytest.raises(UserError, match=r"line 1: expected 'state'"):
        read_endpoint_changes(path)
