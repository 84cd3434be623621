"""machine.json: read back as written, and refused when it is damaged."""

import json

import pytest

from harness.errors import UserError
from harness.record.cell_record import MACHINE_FILE, read_machine, write_machine
from tests.unit.synthetic.handwritten_machine import ROBBED, machine


def test_what_was_written_is_read_back(tmp_path):
    assert read_machine(tmp_path) is None
    found = machine(ROBBED, ROBBED)
    write_machine(tmp_path, found)
    assert read_machine(tmp_path) == found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 99}, "schema 99"),
        ({"cores": "2"}, "cores: '2' is not a whole number"),
        ({"worst": {"seconds": 1.0}}, "worst: key 'steal_share' is missing"),
        (None, "expected JSON"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, change, said):
    write_machine(tmp_path, machine())
    path = tmp_path / MACHINE_FILE
    path.write_text("{" if change is None else json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError) as caught:
        read_machine(tmp_path)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)
