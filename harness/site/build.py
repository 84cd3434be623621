"""Builds results/site/: the map and the lessons, from the newest run of each experiment.

Runs are read one after the other, and only what a page needs of them is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import UserError
from harness.record.record_file import own_folder, there_is, write_text
from harness.site.basics import BASICS, basics_page
from harness.site.chosen import Choice, choose_runs
from harness.site.lesson import Neighbours, lesson_page, lesson_path, report_path
from harness.site.map_page import map_of
from harness.site.pages import render, site_script
from harness.site.run_facts import RunFacts, read_facts
from harness.site.sequence import Exchange, exchanges_from
from harness.site.teacher import TaughtLesson, taught, teacher_pages
from harness.site.theory import theory_pages
from harness.site.theory_figures import Row, figures_from
from harness.spec.experiment import command_of

SITE = "site"
MAP = "index.html"


@dataclass(frozen=True)
class Site:
    """A site that was built. first_page: the map. missing: commands of the experiments that have no run yet.
    simulated: experiments of which only a simulated run is there. unreadable: why runs were passed over."""

    first_page: Path
    lessons: int
    missing: Sequence[str]
    simulated: Sequence[str]
    unreadable: Sequence[str]


@dataclass(frozen=True)
class FromRuns:
    """What pages other than lessons show: theory page -> figures, method -> an exchange, lessons taught."""

    figures: dict[str, Sequence[Row]]
    exchanges: dict[str, Exchange]
    lessons: list[TaughtLesson]

    def add(self, facts: RunFacts) -> None:
        """Add what one run has. A measured exchange replaces a simulated one."""
        self.figures.update(figures_from(facts))
        for method, exchange in exchanges_from(facts).items():
            known = self.exchanges.get(method)
            if known is None or (known.simulated and not exchange.simulated):
                self.exchanges[method] = exchange


def build_site(results: Path) -> Site:
    """Write results/site/ anew and return what it has.

    Raises UserError when `results` is no folder or cannot be written.
    """
    if not results.is_dir():
        raise UserError(f"{results}: expected the folder that has the runs; name another with --results")
    choices = choose_runs(results)
    try:
        folder = own_folder(results, SITE)
        choices, found = _write_lessons(folder, choices)
        for path, page in _other_pages(choices, found):
            _write(folder, path, page)
    except OSError as error:
        raise UserError(
            f"{results / SITE}: the site cannot be written ({error.strerror}); name a folder with --results"
        ) from error
    return Site(
        first_page=folder / MAP,
        lessons=sum(choice.run is not None for choice in choices),
        missing=[command_of(choice.experiment) for choice in choices if choice.run is None],
        simulated=[choice.experiment.name for choice in choices if choice.run and choice.run.simulated],
        unreadable=[line for choice in choices for line in choice.unreadable],
    )


def _write(folder: Path, path: str, page: str) -> None:
    """Write a page, in a folder of the site's own."""
    if "/" in path:
        own_folder(folder, path.partition("/")[0])
    write_text(folder / path, page)


def _write_lessons(folder: Path, choices: Sequence[Choice]) -> tuple[list[Choice], FromRuns]:
    """Write the page of each lesson. Return what the other pages need of the runs.

    The choices come without the runs that turned out to be damaged.
    """
    lessons = [one for one in choices if one.experiment.teaching is not None]
    shown = [one for one in choices if one.experiment.teaching is None]
    found = FromRuns({}, {}, [])
    for place, choice in enumerate(lessons):
        readable, facts = _facts(choice)
        shown.insert(place, readable)
        found.lessons.append(taught(place + 1, readable, facts))
        if facts is not None:
            found.add(facts)
        neighbours = Neighbours(
            _named(lessons[place - 1]) if place else None,
            _named(lessons[place + 1]) if place + 1 < len(lessons) else None,
        )
        name = choice.experiment.name
        has_report = facts is not None and _copy_report(folder, name, facts.stored.path)
        _write(
            folder,
            lesson_path(name),
            lesson_page(place + 1, readable, facts, neighbours, has_report=has_report),
        )
    return shown, found


def _facts(choice: Choice) -> tuple[Choice, RunFacts | None]:
    """Return the facts of the chosen run; without them, the choice says why there is no run to show."""
    if choice.run is None:
        return choice, None
    try:
        facts = read_facts(choice.run)
        return replace(choice, times_count=not facts.summary.invalid_reasons), facts
    except UserError as error:
        return replace(choice, run=None, unreadable=[*choice.unreadable, str(error)]), None


def _named(choice: Choice) -> tuple[str, str]:
    teaching = choice.experiment.teaching
    assert teaching is not None
    return choice.experiment.name, teaching.heading


def _copy_report(folder: Path, name: str, run: Path) -> bool:
    """Copy the run's report, so that the site can be handed on; return whether the run has one."""
    report = run / "report.html"
    try:
        if not there_is(report):
            return False
    except UserError:  # a pipe, a link to nothing: no report
        return False
    _write(folder, report_path(name), report.read_text(encoding="utf-8", errors="replace"))
    return True


def _other_pages(choices: Sequence[Choice], found: FromRuns) -> Iterator[tuple[str, str]]:
    """Yield each page that is no lesson: its path in the site's folder, and its HTML."""
    values = {"chapters": map_of(choices), "scripts": [site_script("map.js")], "title": "Map"}
    yield MAP, render("map.html.j2", MAP, values)
    yield BASICS, basics_page(choices, found.exchanges)
    yield from theory_pages(choices, found.figures)
    yield from teacher_pages(choices, found.lessons)
