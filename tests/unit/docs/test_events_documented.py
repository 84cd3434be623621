"""docs/events.md is as current as the kinds of events."""

from pathlib import Path

from harness.events.page import page

PAGE = Path(__file__).resolve().parents[3] / "docs" / "events.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run make schema"
