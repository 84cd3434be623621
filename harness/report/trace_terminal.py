"""Prints the figures of a trace on a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from harness.report.tables import Table
from harness.report.trace_tables import (
    balance_lines,
    change_lines,
    client_lines,
    headline,
    model_lines,
    read_lines,
    session_lines,
    status_line,
    targets_table,
)
from harness.traces.figures import TraceFigures
from harness.traces.model import WorkloadModel
from harness.traces.trace import Trace

MAX_TARGETS = 12
NAME_WIDTH = 21  # that of an IPv4 address with its port


def print_trace(trace: Trace, figures: TraceFigures, model: WorkloadModel, console: Console) -> None:
    """Print the summary: what was read, the targets, sessions, clients and the model."""
    _say(console, [headline(figures), *read_lines(trace)])
    for file, number, text in trace.broken.first:
        console.print(
            f"  {escape(file)}:{number}: {escape(text)}", style="yellow", soft_wrap=True, highlight=False
        )
    _say(console, [status_line(figures)])
    _heading(console, "Where the requests went")
    _say(console, balance_lines(figures))
    if figures.targets:
        console.print(_targets(targets_table(figures)))
    more = len(figures.targets) - MAX_TARGETS
    if more > 0:
        _say(console, [f"{more:,} more targets are in the report."])
    changes = list(change_lines(figures))
    if changes:
        _say(console, changes[:8])
    _heading(console, "Sessions and clients")
    _say(console, [*session_lines(trace, figures), *client_lines(trace, figures)])
    _heading(console, "The workload as a model")
    _say(console, model_lines(model))


def _heading(console: Console, text: str) -> None:
    console.print(f"\n[bold]{escape(text)}[/]", highlight=False)


def _say(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        style = "bold yellow" if line.startswith("Warning") else ""
        for part in textwrap.wrap(line, console.width - 1, subsequent_indent="  "):
            console.print(escape(part), style=style, highlight=False, soft_wrap=True)


def _targets(table: Table) -> RichTable:
    shown = RichTable(box=SIMPLE_HEAD, padding=0, header_style="bold")
    for number, name in enumerate(table.head):
        if number == 0:
            shown.add_column(name, no_wrap=True, overflow="ellipsis", max_width=NAME_WIDTH)
        else:
            shown.add_column(name, justify="left" if name == "there" else "right", no_wrap=name != "there")
    for row in table.rows[:MAX_TARGETS]:
        shown.add_row(*map(escape, row))
    return shown
