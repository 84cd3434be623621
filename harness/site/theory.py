"""The theory pages: one Markdown file each in theory/, with the lab's own figures put in at build time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import jinja2

from harness.site.chosen import Choice
from harness.site.markdown import OWN_PAGE, to_html
from harness.site.pages import FOLDER, render
from harness.site.theory_figures import FIGURES, Row
from harness.spec.experiment import command_of

CONTENTS = "theory/index.html"
DISTURBED = (
    "The machine disturbed this run, so the lab does not count its times. "
    "Run the experiment again on a calm machine to compare them with the formula."
)
_PAGES = FOLDER / "theory"
_TEMPLATES = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined)  # noqa: S701 - Markdown


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
    text = (_PAGES / f"{name}.md").read_text(encoding="utf-8")
    title, summary, *_ = text.removeprefix("# ").split("\n\n", 1)[0].split("\n", 1)
    return Theory(name, title, " ".join(summary.split()), text)


def theory_pages(choices: Sequence[Choice], rows: Mapping[str, Sequence[Row]]) -> Iterator[tuple[str, str]]:
    """Yield the page of contents and each theory page: path and HTML. rows: page -> the lab's figures."""
    pages = theories()
    by_name = {choice.experiment.name: choice for choice in choices}
    yield CONTENTS, render("theory.html.j2", CONTENTS, {"title": "Theory", "pages": pages})
    for page in pages:
        values = {"title": page.title, "body": _body(page, by_name, rows.get(page.name, ()))}
        yield theory_path(page.name), render("article.html.j2", theory_path(page.name), values)


def _body(page: Theory, choices: Mapping[str, Choice], rows: Sequence[Row]) -> str:
    """Return the page's HTML. Its template may use `figures` and `lesson(NAME)`, a link to a lesson."""
    source = choices.get(FIGURES[page.name].experiment)

    def lesson(name: str) -> str:
        teaching = choices[name].experiment.teaching
        assert teaching is not None
        return f"[{teaching.heading}]({OWN_PAGE}lessons/{name}.html)"

    text = _TEMPLATES.from_string(page.text).render(figures=_figures(source, rows), lesson=lesson)
    return to_html(text, "../")


def _figures(source: Choice | None, rows: Sequence[Row]) -> str:
    """Return the lab's figures as a Markdown table, or how to get them."""
    if source is None or source.run is None or not rows:
        command = command_of(source.experiment) if source else "python run_experiment.py list"
        return f"*Not measured yet: run `{command}`, then `python run_experiment.py site`.*"
    name = source.experiment.name
    measured = "simulated" if source.run.simulated else "measured"
    lines = [f"| `{name}` | by the formula | {measured} |", "|---|---|---|"]
    lines += [f"| {_cell(row.where)} | {_cell(row.formula)} | {_cell(row.measured)} |" for row in rows]
    doubt = "" if source.times_count else f"\n\n*{DISTURBED}*"
    return "\n".join(lines) + doubt


def _cell(text: str) -> str:
    """Return text that stays in its cell and is not read as Markdown."""
    return "".join(f"\\{character}" if character in "\\|*_`<[" else character for character in text)
