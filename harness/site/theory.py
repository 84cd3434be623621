"""The theory pages: one Markdown file each in texts/theory/, with the lab's own figures put in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.paths import PROGRAM
from harness.site.chosen import Choice
from harness.site.markdown import to_html
from harness.site.pages import render
from harness.site.texts import filled, read_text
from harness.site.theory_figures import FIGURES, Row
from harness.spec.experiment import command_of

CONTENTS = "theory/index.html"
DISTURBED = (
    "The machine disturbed this run, so the lab does not count its times. "
    "Run the experiment again on a calm machine to compare them with the formula."
)


@dataclass(frozen=True)
class Theory:
    """A theory page: its file's name, title, first paragraph, and the whole as a template of Markdown."""

    name: str
    title: str
    summary: str
    text: str


def theory_path(name: str) -> str:
    """Return where the page is in the site's folder."""
    return f"theory/{name}.html"


def theories() -> list[Theory]:
    """Return all theory pages in the order in which they are to be read."""
    return [_read(name) for name in FIGURES]


def _read(name: str) -> Theory:
    text = read_text(f"theory/{name}.md")
    title, summary, *_ = text.removeprefix("# ").split("\n\n", 1)[0].split("\n", 1)
    return Theory(name, title, " ".join(summary.split()), text)


def theory_pages(choices: Sequence[Choice], rows: Mapping[str, Sequence[Row]]) -> Iterator[tuple[str, str]]:
    """Yield the page of contents and each theory page: path and HTML. rows: page -> the lab's figures."""
    pages = theories()
    yield CONTENTS, render("theory.html.j2", CONTENTS, {"title": "Theory", "pages": pages})
    for page in pages:
        values = {"title": page.title, "body": _body(page, choices, rows.get(page.name, ()))}
        yield theory_path(page.name), render("article.html.j2", theory_path(page.name), values)


def _body(page: Theory, choices: Sequence[Choice], rows: Sequence[Row]) -> Markup:
    """Return the page's HTML. Its text may use `figures`, and `lesson(NAME)` for a link to a lesson."""
    source = next((one for one in choices if one.experiment.name == FIGURES[page.name].experiment), None)
    return to_html(filled(page.text, choices, figures=_figures(source, rows)), "../")


def _figures(source: Choice | None, rows: Sequence[Row]) -> str:
    """Return the lab's figures as a Markdown table, or how to get them."""
    if source is None or source.run is None or not rows:
        command = command_of(source.experiment) if source else f"{PROGRAM} list"
        return f"*Not measured yet: run `{command}`, then `{PROGRAM} site`.*"
    name = source.experiment.name
    measured = "simulated" if source.run.simulated else "measured"
    lines = [f"| `{name}` | by the formula | {measured} |", "|---|---|---|"]
    lines += [f"| {_cell(row.where)} | {_cell(row.formula)} | {_cell(row.measured)} |" for row in rows]
    doubt = "" if source.times_count else f"\n\n*{DISTURBED}*"
    return "\n".join(lines) + doubt


def _cell(text: str) -> str:
    """Return text that stays in its cell and is not read as Markdown."""
    return "".join(f"\\{character}" if character in "\\|*_`<[" else character for character in text)
