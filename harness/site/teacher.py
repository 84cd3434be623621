"""The pages for teachers: plans, slides, sheets to print, and the answer key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.record.summary import Finding
from harness.report.finding import finding_of
from harness.report.setup_drawing import Setup, draw_setup
from harness.site.chosen import Choice
from harness.site.exercise import Answer, answers_of
from harness.site.formulas import Formula, formula_of
from harness.site.markdown import to_html
from harness.site.pages import render, site_script
from harness.site.prediction import Prediction, in_words, prediction_of
from harness.site.run_facts import RunFacts
from harness.site.texts import filled, read_text
from harness.spec.experiment import Experiment, command_of

TEACHER = "teacher/index.html"
SLIDES, SHEETS, ANSWERS = "teacher/slides.html", "teacher/sheets.html", "teacher/answers.html"
ROOT = "../"


@dataclass(frozen=True)
class TaughtLesson:
    """What the teacher's pages need of a lesson. prediction, formula, findings: empty without a run."""

    number: int
    experiment: Experiment
    heading: str
    setup: Setup
    exercise: Markup
    answer: Markup
    answers: Sequence[Answer]
    prediction: Prediction | None
    formula: Formula | None
    finding: str
    findings: Sequence[Finding]
    simulated: bool
    times_count: bool

    @property
    def command(self) -> str:
        """The command line that measures it."""
        return command_of(self.experiment)


def taught(number: int, choice: Choice, facts: RunFacts | None) -> TaughtLesson:
    """Return a lesson for the teacher's pages. facts: None where no run can be shown."""
    teaching = choice.experiment.teaching
    assert teaching is not None
    experiment = choice.experiment if facts is None else facts.run.experiment
    return TaughtLesson(
        number=number,
        experiment=choice.experiment,
        heading=teaching.heading,
        setup=draw_setup(experiment),
        exercise=to_html(teaching.exercise, ROOT),
        answer=to_html(teaching.answer or "", ROOT),
        answers=answers_of(choice, facts),
        prediction=None if facts is None else prediction_of(facts),
        formula=None if facts is None else formula_of(facts),
        finding="" if facts is None else finding_of(facts.summary).text,
        findings=[] if facts is None else facts.summary.expectations,
        simulated=facts is not None and facts.stored.simulated,
        times_count=choice.times_count,
    )


def teacher_pages(choices: Sequence[Choice], lessons: Sequence[TaughtLesson]) -> Iterator[tuple[str, str]]:
    """Yield each of the teacher's pages: path and HTML."""
    missing = sum(lesson.prediction is None for lesson in lessons)
    said = f"{missing} of {len(lessons)} lessons have no run yet." if missing else "All lessons have a run."
    plan = to_html(filled(read_text("teacher.md"), choices, missing=said), ROOT)
    yield TEACHER, render("article.html.j2", TEACHER, {"title": "For teachers", "body": plan})
    values = {"lessons": lessons, "in_words": in_words}
    slides = {**values, "title": "Slides", "scripts": [site_script("slides.js")]}
    yield SLIDES, render("slides.html.j2", SLIDES, slides)
    yield SHEETS, render("sheets.html.j2", SHEETS, {**values, "title": "Sheets"})
    yield ANSWERS, render("answers.html.j2", ANSWERS, {**values, "title": "Answer key"})
