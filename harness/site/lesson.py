"""The page of a lesson: question, prediction, replay, comparison, reason, exercise, ALB, evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from harness.policies.registry import POLICIES_OF_ROUTE
from harness.record.summary import ArmSummary
from harness.report.assets import module_script, style
from harness.report.finding import finding_of
from harness.report.setup_drawing import draw_setup
from harness.report.story import lesson_of, on_aws
from harness.report.tables import Table, figure_of, named
from harness.report.what_if import what_if_of
from harness.site.chosen import Choice
from harness.site.exercise import answers_of
from harness.site.formulas import formula_of
from harness.site.map_page import lesson_minutes
from harness.site.markdown import to_html
from harness.site.pages import render, site_script
from harness.site.prediction import in_words, prediction_of
from harness.site.run_facts import RunFacts
from harness.spec.experiment import Experiment, as_asked, command_of

ROOT = "../"
_EVIDENCE = {
    "spread.max_over_mean": "",
    "affinity.purity": "",
    "latency_ms.p50": ", ms",
    "latency_ms.p99": ", ms",
}


@dataclass(frozen=True)
class Neighbours:
    """The lessons before and after: name and heading, or None at either end."""

    before: tuple[str, str] | None
    after: tuple[str, str] | None


def lesson_path(name: str) -> str:
    """Return where the lesson of an experiment is in the site's folder."""
    return f"lessons/{name}.html"


def report_path(name: str) -> str:
    """Return where the copy of the run's report is."""
    return f"reports/{name}.html"


def lesson_page(
    number: int, choice: Choice, facts: RunFacts | None, neighbours: Neighbours, *, has_report: bool
) -> str:
    """Return the page of a lesson as HTML. facts: None where no run can be shown."""
    experiment = choice.experiment
    teaching = experiment.teaching
    assert teaching is not None
    prediction = prediction_of(facts) if facts is not None else None
    replay = facts.replay if facts is not None else None
    what_if = what_if_of(facts.run, facts.summary) if facts is not None else None
    scripts = [module_script("replay_player.js")] if replay else []
    scripts += [module_script("whatif_panel.js")] if what_if else []
    scripts += [site_script("lesson.js")] if prediction else []
    lesson = lesson_of(experiment)
    as_run = facts.run.experiment if facts is not None else experiment
    compared = [name for name, _ in facts.compared] if facts is not None else []
    shown = compared or list(as_run.variants)[:2]
    values: dict[str, Any] = {
        "title": teaching.heading,
        "number": number,
        "experiment": experiment,
        "minutes": lesson_minutes(experiment, teaching),
        "command": command_of(experiment),
        "setup": draw_setup(as_asked(as_run), ours=facts is None or facts.run.manifest.testbed != "external"),
        "meanings": [(in_words(name), _meaning(as_run, name)) for name in shown],
        "prediction": prediction,
        "replay": replay,
        "what_if": what_if,
        "styles": (style("replay.css") if replay else "") + (style("whatif.css") if what_if else ""),
        "why": to_html("\n\n".join(lesson.why), ROOT),
        "on_alb": to_html("\n\n".join(lesson.on_aws), ROOT),
        "policies_on_alb": on_aws(as_asked(as_run)),
        "read": to_html(teaching.read, ROOT),
        "exercise": to_html(teaching.exercise, ROOT),
        "answer_text": to_html(teaching.answer or "", ROOT),
        "answers": answers_of(choice, facts),
        "formula": formula_of(facts) if facts is not None else None,
        "evidence": _evidence(facts) if facts is not None else None,
        "facts": facts,
        "finding": finding_of(facts.summary).text if facts is not None else None,
        "report": ROOT + report_path(experiment.name) if has_report else None,
        "neighbours": neighbours,
        "in_words": in_words,
        "scripts": scripts,
    }
    return render("lesson.html.j2", lesson_path(experiment.name), values)


def _meaning(experiment: Experiment, arm: str) -> Markup:
    """Return what the arm's policy does, in the words of the registry."""
    variant = experiment.variants[arm].arm
    meaning = POLICIES_OF_ROUTE[variant.route][variant.policy].meaning
    text = f"{variant.policy.replace('_', ' ')}: {meaning}" if variant.policy != arm else meaning
    return to_html(f"{text}.", ROOT)


def _evidence(facts: RunFacts) -> Table:
    arms = facts.summary.arms
    rows = [[in_words(name), f"{arm.requests:,}", *_figures(arm), _failed(arm)] for name, arm in arms.items()]
    head = [Markup("{}{}").format(named(metric), unit) for metric, unit in _EVIDENCE.items()]
    return Table(["Arm", "requests", *head, "failed"], rows)


def _figures(arm: ArmSummary) -> Sequence[str]:
    return [figure_of(arm, metric) for metric in _EVIDENCE]


def _failed(arm: ArmSummary) -> str:
    failed = sum(arm.errors.values())
    return f"{failed:,} ({failed / arm.requests:.1%})" if failed else "0"
