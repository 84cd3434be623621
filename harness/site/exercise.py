"""The exercise of a lesson with its answer: the figures of a run with that change, or how to measure it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.summary import summarise
from harness.errors import UserError
from harness.record.run_directory import read_run
from harness.record.stored_runs import StoredRun
from harness.record.summary import ArmSummary
from harness.report.tables import Table, figure_of, named
from harness.site.chosen import Choice
from harness.site.prediction import in_words
from harness.site.run_facts import RunFacts
from harness.spec.experiment import command_of
from harness.spec.heads import OPTIONS

_CODE = re.compile(r"`([^`]+)`")
_OPTION = re.compile(r"(--[a-z-]+) ([0-9.]+)")
_FIELDS = {option: field for field, option in OPTIONS.items()}
_FIGURES = {
    "busiest / fair": "spread.max_over_mean",
    "p99, ms": "latency_ms.p99",
    "failed": "error_share",
}


@dataclass(frozen=True)
class Answer:
    """The answer to one change. options: as on the command line. table: None, if no such run is there."""

    options: str
    command: str
    table: Table | None
    simulated: bool = False


def answers_of(choice: Choice, facts: RunFacts | None) -> list[Answer]:
    """Return an answer for each change that the exercise names as options; [] where it names none."""
    teaching = choice.experiment.teaching
    assert teaching is not None
    answers = []
    for options, changes in _changes(teaching.exercise):
        command = f"{command_of(choice.experiment)} {options}"
        run = next((run for run in choice.others if run.changes == changes), None)
        table = _table(facts, run, options) if facts is not None and run is not None else None
        answers.append(Answer(options, command, table, run is not None and run.simulated))
    return answers


def _changes(exercise: str) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Yield each change: its options as one text, and the fields that they set."""
    for code in _CODE.findall(exercise):
        found = _OPTION.findall(code)
        fields = {_FIELDS[option]: float(value) for option, value in found if option in _FIELDS}
        if fields and len(fields) == len(found):
            yield " ".join(f"{option} {value}" for option, value in found), fields


def _table(facts: RunFacts, run: StoredRun, options: str) -> Table | None:
    """Return the figures of both runs; None where the changed run cannot be read."""
    try:
        changed = summarise(read_run(run.path)).arms
    except UserError:
        return None
    rows = []
    for name, arm in facts.compared:
        rows.append([f"{in_words(name)}, as it is", *_figures(arm)])
        if name in changed:
            rows.append([f"{in_words(name)}, {options}", *_figures(changed[name])])
    return Table(["", *(named(metric, words) for words, metric in _FIGURES.items())], rows)


def _figures(arm: ArmSummary) -> Sequence[str]:
    share = arm.metrics["error_share"]
    return [
        f"{share or 0:.1%}" if metric == "error_share" else figure_of(arm, metric)
        for metric in _FIGURES.values()
    ]
