"""`history NAME`: all runs of an experiment over time, as a table and a plot, with versions and machines."""

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from harness.cli.new_file import confirm_new, write_file
from harness.metrics.headlines import headline_of
from harness.metrics.registry import METRICS
from harness.output.safe_console import SafeConsole
from harness.output.safe_text import say
from harness.report.history import History, history_of, metrics_to_show
from harness.report.history_plot import history_svg
from harness.report.terminal import COLOURS
from harness.spec.experiment import load_experiment


def print_history(name: str, results: Path, metrics: Sequence[str], svg: Path | None) -> int:
    """Print the runs of an experiment, draw the plot, and return the exit status.

    `name`: of an experiment, or the path of its file. `svg`: where the plot goes; None: beside the runs.
    Raises UserError where there is nothing to show.
    """
    if svg is not None:
        confirm_new(svg, "--svg")
    history = history_of(results, load_experiment(name).name)
    shown = metrics_to_show(history, metrics)
    console = SafeConsole()
    for metric in shown:
        console.print(_table(history, metric))
    for letter, machine in history.machines.items():
        say(f"machine {letter}: {machine}")
    for number, versions in history.versions.items():
        say(f"versions {number}: {versions}")
    for line in history.left_out:
        say(f"left out: {line}")
    picture = svg or results / history.experiment / "history.svg"
    write_file(picture, history_svg(history, shown), "--svg")
    say(f"picture: {picture}")
    return 0


def _table(history: History, metric: str) -> Table:
    """Return a table with a row for each run and a column for each arm."""
    title = f"{metric}: {headline_of(metric)} ({METRICS[metric].unit}), median over the repeats"
    table = Table(title=escape(title), title_justify="left", header_style="bold", box=None)
    for heading in ("started (UTC)", "on", "verdict"):
        table.add_column(heading, no_wrap=True)
    arms = history.arms(metric)
    for arm in arms:
        table.add_column(escape(arm), justify="right")
    for past in history.runs:
        verdict = f"[{COLOURS[past.summary.verdict]}]{past.summary.verdict}[/]"
        table.add_row(past.run.started, past.where, verdict, *(past.figure(arm, metric) for arm in arms))
    return table
