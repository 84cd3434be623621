"""The texts of the site: Markdown files in texts/, with links to lessons and figures put in at build time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jinja2

from harness.paths import PROGRAM
from harness.site.chosen import Choice
from harness.site.markdown import OWN_PAGE
from harness.site.pages import FOLDER

TEXTS = FOLDER / "texts"
_TEMPLATES = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined)  # noqa: S701 - Markdown


def read_text(name: str) -> str:
    """Return the text of texts/<name>, as it is in the file."""
    return (TEXTS / name).read_text(encoding="utf-8")


def filled(text: str, choices: Sequence[Choice], **values: Any) -> str:
    """Return the Markdown of a text: `lesson(NAME)` links to a lesson, `program` calls the lab."""
    return _TEMPLATES.from_string(text).render(lesson=_lesson_link(choices), program=PROGRAM, **values)


def _lesson_link(choices: Sequence[Choice]) -> Callable[[str], str]:
    headings = {
        choice.experiment.name: choice.experiment.teaching.heading
        for choice in choices
        if choice.experiment.teaching is not None
    }
    return lambda name: f"[{headings[name]}]({OWN_PAGE}lessons/{name}.html)"
