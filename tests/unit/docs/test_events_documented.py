"""docs/events.md names every kind of event, and says truly what ends it."""

import re
from pathlib import Path

from harness.events.event import ACTIONS
from harness.events.schedule import OPPOSITE

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "events.md").read_text()
ROWS = [re.findall(r"`(\w+)`", first) for first in re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE)]


def test_every_event_is_in_the_table() -> None:
    assert set(ACTIONS) <= {word for row in ROWS for word in row}


def test_what_ends_an_event_is_what_is_said() -> None:
    for line in TEXT.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and cells[0].startswith("`"):
            words = re.findall(r"`(\w+)`", cells[0])
            if words[0] in ACTIONS:
                told = cells[2].strip("`") or None
                assert OPPOSITE.get(words[0]) == told, line  # type: ignore[call-overload]
