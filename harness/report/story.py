"""What the report tells besides figures: the lesson, the same on AWS, what to try next, the expectations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from harness.policies.policy import AlbSettings
from harness.policies.registry import POLICIES_OF_ROUTE
from harness.record.summary import Finding
from harness.report.tables import named
from harness.spec.experiment import Experiment, command_of

# How the paragraphs of a lesson begin that are about a real load balancer.
_ON_AWS = re.compile(r"(On (an? |a real )?(ALB|AWS)\b|An ALB\b|Through an ALB\b|Where Envoy is not )")
_CODE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")


@dataclass(frozen=True)
class Lesson:
    """The paragraphs of an experiment's lesson: why the result is so, and what it means on AWS."""

    why: Sequence[str]
    on_aws: Sequence[str]


@dataclass(frozen=True)
class OnAws:
    """What an arm's policy is on AWS. settings: None where nothing there does the same."""

    arms: Sequence[str]
    policy: str
    equivalent: str
    settings: AlbSettings | None


def lesson_of(experiment: Experiment) -> Lesson:
    """Return the lesson in two parts. The first paragraph is never about AWS: it says what to look at."""
    paragraphs = [" ".join(text.split()) for text in experiment.lesson.split("\n\n") if text.strip()]
    on_aws = [text for text in paragraphs[1:] if _ON_AWS.match(text)]
    return Lesson([text for text in paragraphs if text not in on_aws], on_aws)


def on_aws(experiment: Experiment) -> list[OnAws]:
    """Return what each policy of the experiment is on AWS, with the arms that have it."""
    found: dict[tuple[str, str, str], OnAws] = {}
    for name, variant in experiment.variants.items():
        arm = variant.arm
        policy = POLICIES_OF_ROUTE[arm.route][arm.policy]
        settings = policy.alb_settings(policy.chosen(arm.options))
        key = (arm.route, arm.policy, settings.command if settings else "")
        before = found.get(key)
        arms = [*(before.arms if before else ()), name]
        found[key] = OnAws(arms, arm.policy, policy.alb, settings)
    return list(found.values())


def next_command(experiment: Experiment) -> str | None:
    """Return the command line of the experiment's exercise; None where it names no option."""
    exercise = experiment.teaching.exercise if experiment.teaching else ""
    option = next((code for code in _CODE.findall(exercise) if code.startswith("--")), None)
    return option and f"{command_of(experiment)} {option}"


def prose(text: str) -> Markup:
    """Return a paragraph of Markdown with its code as code; links keep their words only."""
    parts = _CODE.split(_LINK.sub(r"\1", " ".join(text.split())))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(parts)
    )


def expectation(finding: Finding) -> Markup:
    """Return an expectation with the headline of its metric; the metric's name shows when pointed at."""
    before, _, after = finding.text.partition(finding.metric)
    if not after:
        return escape(finding.text)
    return Markup("{}{}{}").format(before, named(finding.metric), after)


def counts_in_words(verdicts: Sequence[str]) -> str:
    """Return "3 held, 1 refuted"; "none" without expectations."""
    counts = {word: verdicts.count(word) for word in ("held", "refuted", "inconclusive", "not judged")}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "none"
