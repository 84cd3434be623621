"""The map: all experiments as a path, by chapter, with what to read before and how long it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.plan.cells import cells_at_least
from harness.site.chosen import Choice
from harness.site.markdown import to_html
from harness.spec.experiment import Experiment, command_of
from harness.spec.heads import BEGIN_WITH, CHAPTERS
from harness.spec.model import Teaching

START_S = 2  # until the parts of a cell have started, about
WORDS_PER_MINUTE = 160  # read with thought
LOOK_MINUTES = 4  # to predict, and to watch the replay


@dataclass(frozen=True)
class Stop:
    """One lesson on the map. number: its place, from 1. after: name and heading of the lesson before it."""

    number: int
    name: str
    heading: str
    question: str
    after: tuple[str, str] | None
    minutes: int
    run_s: int
    state: str
    command: str
    begin_here: bool


@dataclass(frozen=True)
class Chapter:
    """A group of lessons with its heading and introduction."""

    heading: str
    introduction: Markup
    stops: Sequence[Stop]


def map_of(choices: Sequence[Choice]) -> list[Chapter]:
    """Return the chapters with their lessons, in the one order that README, docs and `list` have, too."""
    lessons = [(one, one.experiment.teaching) for one in choices if one.experiment.teaching is not None]
    headings = {one.experiment.name: teaching.heading for one, teaching in lessons}
    stops: dict[str, list[Stop]] = {chapter: [] for chapter in CHAPTERS}
    for number, (choice, teaching) in enumerate(lessons, 1):
        stops[teaching.chapter].append(_stop(number, choice, teaching, headings))
    return [
        Chapter(heading, to_html(introduction), stops[name])
        for name, (heading, introduction) in CHAPTERS.items()
    ]


def _stop(number: int, choice: Choice, teaching: Teaching, headings: dict[str, str]) -> Stop:
    experiment = choice.experiment
    return Stop(
        number=number,
        name=experiment.name,
        heading=teaching.heading,
        question=experiment.question,
        after=(teaching.after, headings[teaching.after]) if teaching.after else None,
        minutes=lesson_minutes(experiment, teaching),
        run_s=run_seconds(experiment),
        state="missing" if choice.run is None else "simulated" if choice.run.simulated else "measured",
        command=command_of(experiment),
        begin_here=experiment.name == BEGIN_WITH,
    )


def run_seconds(experiment: Experiment) -> int:
    """Return about how many seconds a run takes, with the fewest repeats."""
    work = experiment.workload
    cell_s = work.warm_up_s + work.duration_s + START_S
    return math.ceil(cells_at_least(experiment) * cell_s)


def lesson_minutes(experiment: Experiment, teaching: Teaching) -> int:
    """Return about how many minutes the lesson takes, without the run and without the exercise."""
    words = sum(len(text.split()) for text in (experiment.lesson, teaching.read, teaching.exercise))
    return LOOK_MINUTES + math.ceil(words / WORDS_PER_MINUTE)
