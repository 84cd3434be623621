"""Prints what a run measured and its verdict on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.record.summary import Summary
from harness.report import tables
from harness.report.event_tables import event_line
from harness.report.finding import expectation_in_words, finding_of, verdict_in_words, word_of
from harness.report.search_tables import capacities_table, search_lines
from harness.report.share_tables import OF_MANY, purely_ranked, where_table
from harness.report.tables import Table as ReportTable
from harness.report.tables import (
    failed_lines,
    figure_of,
    not_judged_lines,
    repeated_in_words,
    repeated_lines,
    unsent_lines,
)

MAX_ARM_COLUMNS = 5
NAME_ROOM = 28  # characters for an arm's name; longer ones are folded
KIND_ROOM = 12  # characters for "inconclusive"
COLUMN_GAP = 2  # characters from one column to the next, and at both ends

# Columns that are left out where they leave no room for an arm's name: all of the first, then one by one.
ONLY_WIDE = (*OF_MANY, "attempts, busiest / fair", "p50 ms, OK")
NEXT_LEFT_OUT = ("p99 ms, OK", "group purity")
# Heading -> metric. Those of OK alone are there where requests failed.
_WAITS = {
    "p50 ms": "latency_ms.p50",
    "p99 ms": "latency_ms.p99",
    "p50 ms, OK": "ok_latency_ms.p50",
    "p99 ms, OK": "ok_latency_ms.p99",
}

COLOURS = {"held": "green", "measured": "green", "refuted": "red", "inconclusive": "yellow"}


def print_summary(summary: Summary, console: Console) -> None:
    """Print the finding, where requests went, what events did, and the verdicts.

    Where every request of a cell failed, that comes first.
    """
    for line in failed_lines(summary):
        console.print(f"[bold red]{escape(line)}[/]", highlight=False, soft_wrap=True)
    verdict = summary.verdict
    console.print(f"[dim]{escape(summary.question)}[/]", highlight=False)
    console.print(f"[bold]{escape(finding_of(summary).text)}[/]\n", highlight=False)
    searched = capacities_table(summary)
    console.print(_where(summary, console.width) if searched is None else _searched(searched))
    for name, arm in summary.arms.items():
        if arm.events:
            console.print(entry(f"[bold]{escape(name)}[/]", escape(event_line(arm)), NAME_ROOM))
    meaning = escape(verdict_in_words(summary))
    console.print(f"[bold {COLOURS[verdict]}]{verdict}[/]  {meaning}", highlight=False)
    for kind, line in _lines(summary):
        console.print(entry(kind, line))


def print_report(summary: Summary, report: Path, console: Console) -> None:
    """Print the report's path, and after it what would help to a verdict, if there is none."""
    console.print(f"report: {escape(str(report))}", highlight=False, soft_wrap=True)
    if summary.advice:
        console.print(f"[bold yellow]{escape(summary.advice)}[/]", highlight=False)


def entry(kind: str, text: str, room: int = KIND_ROOM) -> Table:
    """Return a line of two columns: what it is, and its text, wrapped by words in a column of its own.

    Both are rich's markup. room: the most characters of the first column.
    """
    line = Table.grid(padding=(0, 1, 0, 0))
    line.add_column(width=2)
    line.add_column(min_width=min(room, KIND_ROOM), max_width=room, overflow="fold")
    line.add_column(overflow="fold")
    line.add_row("", kind, text)
    return line


def _lines(summary: Summary) -> Iterator[tuple[str, str]]:
    """Yield what a line is, in colour, and its text, for each expectation, note and repetition."""
    for one in summary.expectations:
        text = f"{escape(expectation_in_words(one))}; measured [bold]{escape(one.figures)}[/]"
        word = word_of(summary, one)
        yield f"[{COLOURS.get(word, 'dim')}]{word}[/]", text
    yield from (("[dim]not judged[/]", escape(text)) for text in not_judged_lines(summary))
    yield from (("[dim]note[/]", escape(note)) for note in summary.notes)
    yield from (("[dim]not sent[/]", escape(line)) for line in unsent_lines(summary))
    if summary.search is not None:
        yield from (("[dim]search[/]", escape(line)) for line in search_lines(summary.search))
    yield from (("[yellow]invalid[/]", escape(reason)) for reason in summary.invalid_reasons)
    if again := repeated_in_words(summary):
        yield "[dim]repeated[/]", again
    yield from (("", escape(line)) for line in repeated_lines(summary))


def _where(summary: Summary, width: int) -> Table:
    """Return the report's table of where requests went, with latency. `width`: the terminal's, characters.

    Up to MAX_ARM_COLUMNS arms are columns, if their names fit: replicas may be many. Else arms are rows;
    on a narrow terminal without the replicas and without the columns of ONLY_WIDE.
    """
    arms = summary.arms
    names = min(NAME_ROOM, max(map(len, arms)))
    columns = _columns(summary, where_table(summary))
    if len(arms) <= MAX_ARM_COLUMNS and _fits_as_columns(columns, width):
        return _arms_as_columns(columns, _title(columns))
    if len(arms) > MAX_ARM_COLUMNS or _room(columns, width) < names:
        columns = _columns(summary, where_table(summary, most_replicas=0))
    if _room(columns, width) < names:
        columns = [column for column in columns if column[0] not in ONLY_WIDE]
    for heading in NEXT_LEFT_OUT:
        if _room(columns, width) < names:
            columns = [column for column in columns if column[0] != heading]
    return _arms_as_rows(columns, _title(columns), max(1, min(names, _room(columns, width))), width)


def _title(columns: Sequence[Sequence[str]]) -> str:
    by_rank = purely_ranked([heading for heading, *_ in columns])
    return f"Requests answered, by {'rank' if by_rank else 'replica'}"


def _columns(summary: Summary, where: ReportTable) -> list[list[str]]:
    """Return a column for each figure, of heading and one cell an arm; the first has the arms' names."""
    arms = summary.arms.values()
    waits = [
        [heading, *(figure_of(arm, metric) for arm in arms)]
        for heading, metric in _WAITS.items()
        if metric.startswith("latency") or any(arm.errors for arm in arms)
    ]
    figures = zip(where.head, *where.rows, strict=True)
    return [*([escape(cell) for cell in column] for column in figures), *waits]


def _fits_as_columns(columns: Sequence[Sequence[str]], width: int) -> bool:
    """Return whether no arm's name and no figure is broken where the arms are columns."""
    widths = [max(map(len, row)) for row in zip(*columns, strict=True)]
    return sum(widths) + 3 * len(widths) + 1 <= width


def _searched(table: tables.Table) -> Table:
    """Return the capacities as the terminal shows them."""
    shown = _table("Highest rate at which the condition holds")
    shown.add_column("", overflow="fold")
    for heading in table.head[1:]:
        shown.add_column(heading, justify="right")
    for row in table.rows:
        shown.add_row(*map(escape, row))
    return shown


def _room(columns: Sequence[Sequence[str]], width: int, *, whole_headings: bool = False) -> int:
    """Return how many characters of a row all these columns leave for an arm's name, the first column."""
    widths = [_width(column, whole_headings=whole_headings) for column in columns[1:]]
    return width - 2 * COLUMN_GAP - sum(one + COLUMN_GAP for one in widths)


def _width(column: Sequence[str], *, whole_headings: bool) -> int:
    """Return the width of a column in rows: headings may break between words, figures never."""
    heading, *cells = column
    return max(map(len, [*([heading] if whole_headings else heading.split()), *cells]))


def _table(title: str, **layout: Any) -> Table:
    return Table(title=title, title_justify="left", header_style="bold", **layout)


def _arms_as_columns(columns: Sequence[Sequence[str]], title: str) -> Table:
    table = _table(title)
    table.add_column("", no_wrap=True)
    for arm in columns[0][1:]:
        table.add_column(arm, justify="right", overflow="fold")
    for cells in columns[1:]:
        table.add_row(*cells)
    return table


def _arms_as_rows(columns: Sequence[Sequence[str]], title: str, names: int, width: int) -> Table:
    """Return the table with arms as rows. `names`: the width of their names; `width`: the terminal's."""
    whole_headings = _room(columns, width, whole_headings=True) >= names
    table = _table(title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", overflow="fold", width=names)
    for column in columns[1:]:
        table.add_column(column[0], justify="right", width=_width(column, whole_headings=whole_headings))
    for row in zip(*(column[1:] for column in columns), strict=True):
        table.add_row(*row)
    return table
