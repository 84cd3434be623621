"""What a run tells on the terminal when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.judge import show
from harness.report import where_table

_COLOURS = {"held": "green", "refuted": "red", "inconclusive": "yellow"}


def print_summary(summary: Mapping[str, Any], console: Console, report: Path | None = None) -> None:
    """Print where requests went in each arm, the verdict with its figures, and the path of the report."""
    console.print(_where(summary["arms"]))
    verdict = summary["verdict"]
    console.print(f"[bold {_COLOURS[verdict]}]{verdict}[/]  [dim]{escape(summary['question'])}[/]")
    for expectation in summary["expectations"]:
        word = expectation["verdict"]
        text, figures = escape(expectation["text"]), escape(expectation["figures"])
        console.print(
            f"  [{_COLOURS[word]}]{word:<12}[/] {text}, measured [bold]{figures}[/]", highlight=False
        )
    for doubt in summary["doubts"]:
        console.print(f"  [yellow]doubt[/]        {escape(doubt)}", highlight=False)
    if report is not None:
        console.print(f"report: {escape(str(report))}", highlight=False, soft_wrap=True)


def _where(arms: Mapping[str, Mapping[str, Any]]) -> Table:
    """The report's table of where requests went, with latency."""
    where = where_table(arms)
    table = Table(title="Requests answered, by replica", title_justify="left", header_style="bold")
    for number, heading in enumerate([*where.head, "p50 ms", "p99 ms"]):
        table.add_column(heading, justify="left" if number == 0 else "right", overflow="fold")
    for row, arm in zip(where.rows, arms.values(), strict=True):
        latency = arm["latency_ms"]
        table.add_row(*(escape(cell) for cell in row), show(latency["p50"]), show(latency["p99"]))
    return table
