"""Prints what a run measured and its verdict on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.metrics.metric import show
from harness.record.summary import Summary
from harness.report.event_tables import event_line
from harness.report.tables import COUNTS, Arms, repeated_in_words, repeated_lines, where_table

MAX_ARM_COLUMNS = 5
WIDE = 105  # characters: room for all columns beside an arm's name

COLOURS = {"held": "green", "measured": "green", "refuted": "red", "inconclusive": "yellow"}


def print_summary(summary: Summary, console: Console, report: Path | None = None) -> None:
    """Print where requests went in each arm, what its events did, the verdict, and the path of the report."""
    console.print(_where(summary.arms, wide=console.width >= WIDE))
    for name, arm in summary.arms.items():
        if arm.events:
            line = f"  [bold]{escape(name)}[/]  {escape(event_line(arm))}"
            console.print(line, highlight=False, no_wrap=True, overflow="ellipsis")
    verdict = summary.verdict
    console.print(f"[bold {COLOURS[verdict]}]{verdict}[/]  [dim]{escape(summary.question)}[/]")
    for line in _lines(summary):
        console.print(line, highlight=False)
    if report is not None:
        console.print(f"report: {escape(str(report))}", highlight=False, soft_wrap=True)
    if summary.advice:
        console.print(f"[bold yellow]{escape(summary.advice)}[/]", highlight=False)


def _lines(summary: Summary) -> Iterator[str]:
    """Yield a line for each expectation, note and repetition, with its kind in colour."""
    for finding in summary.expectations:
        text = f"{escape(finding.text)}, measured [bold]{escape(finding.figures)}[/]"
        yield f"  [{COLOURS[finding.verdict]}]{finding.verdict:<12}[/] {text}"
    yield from (f"  [dim]not judged[/]   {escape(text)}, an arm was not run" for text in summary.not_judged)
    yield from (f"  [dim]note[/]         {escape(note)}" for note in summary.notes)
    yield from (f"  [yellow]invalid[/]      {escape(reason)}" for reason in summary.invalid_reasons)
    if again := repeated_in_words(summary):
        yield f"  [dim]repeated[/]     {again}"
    yield from (f"{'':15}{escape(line)}" for line in repeated_lines(summary))


def _where(arms: Arms, *, wide: bool) -> Table:
    """Return the report's table of where requests went, with latency.

    Up to MAX_ARM_COLUMNS arms are columns, since their names are long and replicas may be many. More arms are
    rows. Those have no counts of replicas on a narrow terminal: busiest / fair sums them up.
    """
    few = len(arms) <= MAX_ARM_COLUMNS
    where = where_table(arms) if few else where_table(arms, most_replicas=0)
    waits = [
        [f"{rank} ms", *(show(arm.metrics[f"latency_ms.{rank}"]) for arm in arms.values())]
        for rank in ("p50", "p99")
    ]
    columns = [[escape(cell) for cell in column] for column in zip(where.head, *where.rows, strict=True)]
    kept = [column for column in columns if few or wide or column[0] not in COUNTS]
    return (_arms_as_columns if few else _arms_as_rows)([*kept, *waits])


def _table(**layout: Any) -> Table:
    return Table(title="Requests answered, by replica", title_justify="left", header_style="bold", **layout)


def _arms_as_columns(columns: Sequence[Sequence[str]]) -> Table:
    table = _table()
    table.add_column("", no_wrap=True)
    for arm in columns[0][1:]:
        table.add_column(arm, justify="right", overflow="fold")
    for cells in columns[1:]:
        table.add_row(*cells)
    return table


def _arms_as_rows(columns: Sequence[Sequence[str]]) -> Table:
    table = _table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", overflow="fold")
    for heading, *cells in columns[1:]:
        # Headings break between words, figures never.
        width = max(map(len, [*heading.split(), *cells]))
        table.add_column(heading, justify="right", min_width=width)
    for row in zip(*(column[1:] for column in columns), strict=True):
        table.add_row(*row)
    return table
