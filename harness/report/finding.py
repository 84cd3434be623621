"""The finding of a run in one or two sentences with their figures, from its summary.

The expectation that tells most is the finding: a ratio between two arms before a figure that stands alone.
The sentences never claim more than the verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.analysis.surprises import holder_of
from harness.events.registry import kind_of
from harness.metrics.event_metrics import event_metric
from harness.metrics.headlines import clause_of, digits_of, figure_in_words, headline_of
from harness.metrics.registry import CAPACITY
from harness.record.manifest import SIMULATED
from harness.record.summary import ArmSearch, ArmSummary, Figure, Finding, Summary

VERDICTS = {
    "held": "Everything that was expected is what was measured.",
    "refuted": "At least one expectation is not what was measured.",
    "measured": "Nothing was expected; the figures are what was measured.",
    "inconclusive": "There is no verdict; each expectation says why. The figures are shown all the same.",
}

_WITHOUT_EXPECTATION = ("spread.max_over_mean", "latency_ms.p99")
MAX_NAMED = 3  # arms in a sentence
_UNDECIDED = "The measurement does not decide the question."
_SEEN_APART = math.log(1.05)  # arms that differ less are not told beside the finding
_LARGEST = 20.0  # |log(ratio)| of a ratio that is infinity or 0


@dataclass(frozen=True)
class Told:
    """What was found. text: sentences for people. metrics: what they are about, the most telling first."""

    text: str
    metrics: Sequence[str] = ()


def finding_of(summary: Summary) -> Told:
    """Return the finding of a run, or that there is none, and why."""
    told = _finding(summary)
    return replace(told, text=f"Simulated: {told.text}") if SIMULATED in summary.notes else told


def _finding(summary: Summary) -> Told:
    if not any(arm.repeats for arm in summary.arms.values()):
        return Told("Nothing was measured.")
    if not summary.expectations:
        metrics = _WITHOUT_EXPECTATION if summary.search is None else (CAPACITY,)
        text = " ".join(filter(None, (contrast_in_words(summary, metric) for metric in metrics)))
        open_ = f"{_UNDECIDED} " if summary.verdict == "inconclusive" else "Nothing was expected. "
        return Told(open_ + text, metrics)
    if summary.changes:
        return _of_another_question(summary)
    if summary.verdict == "inconclusive":
        return _undecided(summary)
    chosen = _most_telling(summary, [one for one in summary.expectations if one.verdict == summary.verdict])
    sentences = _sentences(summary, chosen)
    if summary.verdict == "refuted":
        sentences.append(f"This refutes what was expected, “{expectation_in_words(chosen[0])}”.")
    if any(one.basis == "one repeat" for one in chosen):
        sentences.append("This rests on one repeat, without an interval.")
    return Told(" ".join(sentences), _metrics(chosen))


def verdict_in_words(summary: Summary) -> str:
    """Return what the verdict means, in a sentence."""
    if not summary.changes:
        return VERDICTS[summary.verdict]
    return (
        f"The expectations were written for another question ({', '.join(summary.changes)}), "
        "so they are not judged."
    )


def word_of(summary: Summary, finding: Finding) -> str:
    """Return the verdict on an expectation, or that it is not judged."""
    return "not judged" if summary.changes else finding.verdict


def expectation_in_words(finding: Finding) -> str:
    """Return an expectation with the headline of its metric: "sticky: p99 latency at least 3 times ..."."""
    return finding.text.replace(finding.metric, headline_of(finding.metric), 1)


def _of_another_question(summary: Summary) -> Told:
    """Return what was measured of the metrics that tell most, of arms whose settings the user has changed."""
    expected = [one.metric for one in summary.expectations]
    often = [metric for metric in expected if expected.count(metric) > 1]
    compared = {*often, *(one.metric for one in summary.expectations if one.of is not None)}
    metrics = [metric for metric in dict.fromkeys(expected) if metric in compared] or expected
    told = [contrast_in_words(summary, metric) for metric in metrics[:2]]
    return Told(" ".join([f"Changed: {', '.join(summary.changes)}.", *filter(None, told)]), metrics[:2])


def _undecided(summary: Summary) -> Told:
    """Return what was measured of the expectations that are open, and that it is no finding."""
    open_ = [one for one in summary.expectations if one.verdict == "inconclusive"]
    if not open_:
        return Told(f"{_UNDECIDED} {summary.invalid_reasons[0]}." if summary.invalid_reasons else _UNDECIDED)
    chosen = _most_telling(summary, open_)[:1]
    left = (
        f"{len(open_)} of {len(summary.expectations)} expectations {'is' if len(open_) == 1 else 'are'} open"
    )
    told = " ".join(["Measured, but not decided:", *_sentences(summary, chosen)]) if chosen else ""
    return Told(f"{_UNDECIDED} {left}. {told}".strip(), _metrics(chosen))


def _metrics(chosen: Sequence[Finding]) -> list[str]:
    return list(dict.fromkeys(one.metric for one in chosen))


def _most_telling(summary: Summary, findings: Sequence[Finding]) -> list[Finding]:
    """Return the finding that tells most, and before it a second one about another metric, as in the file.

    A claim that allows no exception is mostly a condition of the experiment, not what it shows.
    """
    measured = [one for one in findings if one.measured is not None] or list(findings)
    ranked = sorted(measured, key=lambda one: _rank(summary, one), reverse=True)
    chosen = ranked[:1]
    for other in ranked[1:]:
        kind, apart = _rank(summary, other)
        if other.metric != chosen[0].metric and kind > 0 and apart > _SEEN_APART:
            chosen.append(other)
            break
    return sorted(chosen, key=summary.expectations.index)


def _rank(summary: Summary, finding: Finding) -> tuple[int, float]:
    """Return how much a finding tells: its kind, then how far the two arms are apart."""
    if finding.of is not None:
        return 2, _distance(finding.measured or 0.0)
    other = _contrast(summary, finding)
    if other is None or finding.basis == "every repeat":
        return 0, 0.0
    mine, theirs = (value_of(summary, arm, finding.metric) for arm in (finding.arm, other))
    return 1, _distance((mine or 0.0) / theirs if theirs else math.inf)


def _distance(ratio: float) -> float:
    return _LARGEST if ratio <= 0 or math.isinf(ratio) else min(_LARGEST, abs(math.log(ratio)))


def _contrast(summary: Summary, finding: Finding) -> str | None:
    """Return the arm furthest away with the same verdict on the same metric; None without one."""
    mine = value_of(summary, finding.arm, finding.metric)
    others = {
        one.arm: value
        for one in summary.expectations
        if one.metric == finding.metric
        and one.of is None
        and one.arm != finding.arm
        and one.verdict == finding.verdict
        and (value := value_of(summary, one.arm, one.metric)) is not None
    }
    if mine is None or not others:
        return None
    return max(others, key=lambda arm: abs(others[arm] - mine) if math.isfinite(others[arm]) else math.inf)


def _sentences(summary: Summary, findings: Sequence[Finding]) -> list[str]:
    """Return what was measured, a sentence or two for each finding. An event is named where it changes."""
    sentences, before = [], ""
    for finding in findings:
        when, text = _when(summary, finding), _sentence(summary, finding)
        if when and when != before:
            text = f"{when}, {text[0].lower()}{text[1:]}"
        sentences.append(text)
        before = when
    return sentences


def _sentence(summary: Summary, finding: Finding) -> str:
    arm, metric = finding.arm, finding.metric
    arms = _arms_with(summary, metric)
    if finding.of is None:
        other = _contrast(summary, finding)
        first, *rest = sorted([arm, *([other] if other else [])], key=list(arms).index)
        text = f"With {first}, {clause_of(metric, _figure(summary, first, metric, finding))}"
        return text + "".join(f"; with {name}, {_figure(summary, name, metric)}" for name in rest) + "."
    mine, theirs = (_figure(summary, name, metric) for name in (arm, finding.of))
    text = f"With {arm}, {clause_of(metric, mine)}"
    if finding.measured is None or math.isinf(finding.measured):
        return f"{text}; with {finding.of}, {theirs}."
    times = digits_of(finding.measured, [finding.bound])
    if len(arms[arm].repeats) > 1:
        # The two figures are medians of the repeats. Their ratio is not the median of the repeats' ratios.
        return f"{text}; with {finding.of}, {theirs}. In the median repeat, that is {times} times as much."
    return f"{text}. That is {times} times that of {finding.of} ({theirs})."


def _when(summary: Summary, finding: Finding) -> str:
    """Return "After event 1 (kill replica-1)" for a metric of an event, else ""."""
    found = event_metric(finding.metric)
    if found is None:
        return ""
    events = summary.arms[finding.arm].events
    event = next((one for one in events if one.number == found[0]), None)
    what = f" ({kind_of(event.do).label(event.targets)})" if event else ""
    return f"After event {found[0]}{what}"


def _figure(summary: Summary, arm: str, metric: str, finding: Finding | None = None) -> str:
    """Return the arm's median in words; what it is at least where it falls on failed requests."""
    if metric == CAPACITY:
        return capacity_in_words(summary, arm)
    of_arm = summary.arms[arm]
    where, name = holder_of(of_arm, metric)
    if where is not None and name in where.at_least:
        return f"at least {figure_in_words(metric, where.at_least[name])} (it falls on failed requests)"
    bounds = [] if finding is None or finding.of is not None else [finding.bound]
    return figure_in_words(metric, value_of(summary, arm, metric), [*bounds, *of_arm.bounds.get(metric, ())])


def capacity_in_words(summary: Summary, arm: str) -> str:
    """Return the capacity of a searched arm in words: "205 requests/s", "at least 400 requests/s"."""
    assert summary.search is not None
    found = summary.search.arms[arm]
    if found.low is None and found.high is None:
        return "not found"
    words = figure_in_words(CAPACITY, found.capacity_per_s)
    return f"at least {words}" if found.high is None else f"less than {words}" if found.low is None else words


def _arms_with(summary: Summary, metric: str) -> Mapping[str, ArmSummary | ArmSearch]:
    """Return the arms that a metric is about: of a search's capacity those of the file, else those as run."""
    return summary.search.arms if metric == CAPACITY and summary.search is not None else summary.arms


def value_of(summary: Summary, arm: str, metric: str) -> Figure:
    """Return the arm's median of any metric, of events and searches too; None where it has none."""
    if metric == CAPACITY:
        return None if summary.search is None else summary.search.arms[arm].capacity_per_s
    where, name = holder_of(summary.arms[arm], metric)
    return None if where is None else where.metrics.get(name)


def contrast_in_words(summary: Summary, metric: str) -> str:
    """Return what the metric says of the arms, as a sentence; "" where no arm has it.

    Up to MAX_NAMED arms are all named, of more the two between which the others lie.
    """
    values = {
        name: value
        for name in _arms_with(summary, metric)
        if (value := value_of(summary, name, metric)) is not None
    }
    if not values:
        return ""
    names = list(values)
    if len(names) > MAX_NAMED:
        names = [min(names, key=values.__getitem__), max(names, key=values.__getitem__)]
        low, high = (f"{_figure(summary, name, metric)} with {name}" for name in names)
        headline = headline_of(metric)
        return f"{headline[:1].upper()}{headline[1:]}: from {low} to {high}."
    first, *rest = names
    text = f"With {first}, {clause_of(metric, _figure(summary, first, metric))}"
    return text + "".join(f"; with {name}, {_figure(summary, name, metric)}" for name in rest) + "."
