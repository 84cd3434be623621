"""Runs the whole catalogue, one experiment after the other, and prints one table of the outcomes."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from harness.errors import LabError, UserError
from harness.output.safe_console import SafeConsole
from harness.plan.run_options import RunOptions
from harness.record.summary import Summary
from harness.run.experiment import EXIT_STATUS, measure_and_judge
from harness.run.prediction_process import PredictionProcess
from harness.run.report_process import Reports
from harness.spec.experiment import Experiment
from harness.testbed.choice import incompatibility
from harness.testbed.processes import ForkServers

LEFT_OUT = "left out"
WORST_FIRST = ("failed", "refuted", "inconclusive", "held", "measured")


@dataclass(frozen=True)
class Outcome:
    """The outcome of one experiment. `verdict`: the run's, "failed", or "left out" by this testbed.

    `note`: what was missed, or why there is no verdict; "" where all held. `repeated`: number of cells that
    were measured again. `report`: the report's page; None: there is none.
    """

    name: str
    verdict: str
    held: int
    expectations: int
    note: str = ""
    repeated: int = 0
    report: Path | None = None


def run_catalogue(
    experiments: Sequence[tuple[Experiment, RunOptions]], predicting: PredictionProcess | None = None
) -> int:
    """Run every experiment, print one table, and return the exit status of the worst outcome.

    Each experiment comes with its options; their overrides are already part of it. `predicting`: the process
    that predicts them, one after the other; None: they are not predicted. The report of an experiment is
    drawn while the parts of the next one start. A failed experiment does not stop the others. The table says
    why an experiment is left out. It is printed even when this function raises: UserError when the results
    folder cannot be written, KeyboardInterrupt on Ctrl-C and SIGTERM. Finished experiments have their reports
    then, too.
    """
    console = SafeConsole()
    outcomes: list[Outcome] = []
    try:
        with Reports() as reports, closing(ForkServers()) as servers, ExitStack() as at_end:
            at_end.callback(reports.finish)  # also after Ctrl-C: each finished experiment has its report
            for number, (experiment, options) in enumerate(experiments, start=1):
                place = f"{number}/{len(experiments)}"
                console.print(f"{place} [bold]{experiment.name}[/]  {escape(experiment.question)}")
                run = partial(measure_and_judge, experiment, options, reports, None, predicting, servers)
                outcomes.append(_outcome_of(experiment, options, run))
    finally:
        if outcomes:
            _print(outcomes, console)
    return exit_status(outcomes)


def exit_status(outcomes: Sequence[Outcome]) -> int:
    """Return the exit status of the worst outcome; that of bad usage where all were left out."""
    verdicts = [outcome.verdict for outcome in outcomes if outcome.verdict != LEFT_OUT]
    if not verdicts:
        return UserError.exit_code
    return EXIT_STATUS.get(min(verdicts, key=WORST_FIRST.index), LabError.exit_code)


def _outcome_of(
    experiment: Experiment, options: RunOptions, run: Callable[[], tuple[Path, Summary]]
) -> Outcome:
    if why := _why_left_out(experiment, options):
        return Outcome(experiment.name, LEFT_OUT, 0, len(experiment.expect), why)
    try:
        report, summary = run()
    except LabError as error:
        if error.exit_code != LabError.exit_code:
            raise
        return Outcome(experiment.name, "failed", 0, len(experiment.expect), str(error))
    return _outcome(experiment.name, summary, report)


def _why_left_out(experiment: Experiment, options: RunOptions) -> str | None:
    try:
        if options.testbed == "external":
            from harness.testbed.external.plan import plan_external

            plan_external(experiment, options.external)
        elif options.testbed == "simulated":
            from harness.testbed.simulated.plan import plan_simulated

            plan_simulated(experiment, options)
    except UserError as error:
        return str(error)
    return incompatibility(experiment, options.testbed)


def _outcome(name: str, summary: Summary, report: Path) -> Outcome:
    expectations = summary.expectations
    missed = [
        f"{one.text}, measured {one.figures}"
        for word in ("refuted", "inconclusive")
        for one in expectations
        if one.verdict == word and not summary.changes
    ]
    note = next(iter(missed or summary.invalid_reasons), "")
    held = sum(one.verdict == "held" for one in expectations)
    repeated = len({(one.arm, one.repeat) for one in summary.repeated_cells})
    return Outcome(name, summary.verdict, held, len(expectations), note, repeated, report)


def _print(outcomes: Sequence[Outcome], console: SafeConsole) -> None:
    """Print the table, a line for each experiment that did not hold, and where the reports are."""
    from harness.report.terminal import entry

    console.print(_table(outcomes))
    room = max(len(outcome.name) for outcome in outcomes)
    for outcome in outcomes:
        if outcome.note:
            console.print(entry(f"[bold]{escape(outcome.name)}[/]", escape(outcome.note), room))
    if results := {outcome.report.parents[2] for outcome in outcomes if outcome.report}:
        folder = min((path for one in results for path in (str(one), os.path.relpath(one))), key=len)
        console.print(f"Reports: {escape(folder)}/EXPERIMENT/latest/report.html", soft_wrap=True)


def _table(outcomes: Sequence[Outcome]) -> Table:
    from harness.report.terminal import COLOURS

    colours = {**COLOURS, "failed": "red", LEFT_OUT: "dim"}
    table = Table(title="The catalogue", title_justify="left", header_style="bold")
    for column in ("experiment", "verdict"):
        table.add_column(column, no_wrap=True)
    for column in ("held", "measured again"):
        table.add_column(column, justify="right", no_wrap=True)
    for outcome in outcomes:
        verdict = f"[{colours[outcome.verdict]}]{outcome.verdict}[/]"
        held = f"{outcome.held}/{outcome.expectations}"
        table.add_row(escape(outcome.name), verdict, held, str(outcome.repeated or ""))
    return table
