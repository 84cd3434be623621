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
    """The report's table of where requests went, with latency; an arm a column, since names are long."""
    where = where_table(arms)
    latency = [arm["latency_ms"] for arm in arms.values()]
    table = Table(title="Requests answered, by replica", title_justify="left", header_style="bold")
    table.add_column("", no_wrap=True)
    for arm in arms:
        table.add_column(escape(arm), justify="right", overflow="fold")
    for column, heading in enumerate(where.head[1:], start=1):
        table.add_row(heading, *(escape(row[column]) for row in where.rows))
    for rank in ("p50", "p99"):
        table.add_row(f"{rank} ms", *(show(figures[rank]) for figures in latency))
    return table
