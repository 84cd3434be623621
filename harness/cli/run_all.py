"""The whole catalogue, one experiment after the other, and what came of each in one table."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.errors import LabError, UserError
from harness.plan.run_options import RunOptions
from harness.record.summary import Summary
from harness.run.experiment import EXIT_STATUS, measure_and_report
from harness.spec.experiment import Experiment
from harness.testbed.choice import incompatibility

LEFT_OUT = "left out"
COLOURS = {"held": "green", "refuted": "red", "inconclusive": "yellow", "failed": "red", LEFT_OUT: "dim"}
# The worst comes first: the exit status of several runs is that of the worst.
WORST_FIRST = ("failed", "refuted", "inconclusive", "held")


@dataclass(frozen=True)
class Outcome:
    """What came of one experiment: expectations held and in all, what to look at, cells measured again.

    `verdict`: or "failed", or "left out" where the testbed cannot carry it out.
    """

    name: str
    verdict: str
    held: int
    expectations: int
    note: str
    repeated: int = 0


def run_catalogue(experiments: Sequence[tuple[Experiment, dict[str, float]]], options: RunOptions) -> int:
    """Run every experiment (with the overrides that are already part of it); print one summary table.

    An experiment that fails does not stop the others, and one that the testbed cannot carry out is left out,
    with the reason in the table. Returns the exit status of the worst outcome.
    Raises UserError when the results folder cannot be written, KeyboardInterrupt on Ctrl-C and SIGTERM; the
    table of what was done until then is printed all the same.
    """
    console = Console()
    outcomes: list[Outcome] = []
    try:
        for number, (experiment, overrides) in enumerate(experiments, start=1):
            console.print(
                f"{number}/{len(experiments)} [bold]{experiment.name}[/]  {escape(experiment.question)}"
            )
            outcomes.append(_run(experiment, replace(options, overrides=overrides)))
    finally:
        if outcomes:
            console.print(_table(outcomes))
    return exit_status(outcomes)


def exit_status(outcomes: Sequence[Outcome]) -> int:
    """That of the worst outcome: a lab that failed, then refuted, then inconclusive.

    Where all were left out, that of a bad usage: nothing was run.
    """
    verdicts = [outcome.verdict for outcome in outcomes if outcome.verdict != LEFT_OUT]
    if not verdicts:
        return UserError.exit_code
    worst = min(verdicts, key=WORST_FIRST.index)
    return EXIT_STATUS.get(worst, LabError.exit_code)


def _run(experiment: Experiment, options: RunOptions) -> Outcome:
    if why := _unfit(experiment, options):
        return Outcome(experiment.name, LEFT_OUT, 0, len(experiment.expect), why)
    try:
        report, summary = measure_and_report(experiment, options)
    except LabError as error:
        if error.exit_code != LabError.exit_code:
            raise
        return Outcome(experiment.name, "failed", 0, len(experiment.expect), str(error))
    return _outcome(experiment.name, summary, report)


def _unfit(experiment: Experiment, options: RunOptions) -> str | None:
    """Why the testbed cannot carry it out; None where it can."""
    if options.testbed == "external":
        from harness.testbed.external.plan import plan_external

        try:
            plan_external(experiment, options.external)
        except UserError as error:
            return str(error)
    return incompatibility(experiment, options.testbed)


def _outcome(name: str, summary: Summary, report: Path) -> Outcome:
    expectations = summary.expectations
    missed = [f"{one.text}, measured {one.figures}" for one in expectations if one.verdict == "refuted"]
    note = (missed or summary.invalid_reasons or [_short(report)])[0]
    held = sum(one.verdict == "held" for one in expectations)
    repeated = len({(one.arm, one.repeat) for one in summary.repeated_cells})
    return Outcome(name, summary.verdict, held, len(expectations), note, repeated)


def _short(path: Path) -> str:
    """Relative to the working directory where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)


def _table(outcomes: Sequence[Outcome]) -> Table:
    table = Table(title="The catalogue", title_justify="left", header_style="bold")
    table.add_column("experiment", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("held", justify="right", no_wrap=True)
    table.add_column("measured again", justify="right")
    table.add_column("what was missed, or the report", overflow="fold")
    for outcome in outcomes:
        table.add_row(
            outcome.name,
            f"[{COLOURS[outcome.verdict]}]{outcome.verdict}[/]",
            f"{outcome.held}/{outcome.expectations}",
            str(outcome.repeated or ""),
            escape(outcome.note),
        )
    return table
