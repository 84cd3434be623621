"""Writes the report of a trace: one page that opens from disk, and its tables as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

import jinja2

from harness.errors import UserError
from harness.output.safe_text import visible
from harness.record.record_file import write_text
from harness.report.assets import style
from harness.report.trace_plots import PLOTS, TraceData, draw_trace_plots
from harness.report.trace_tables import (
    balance_lines,
    change_lines,
    client_lines,
    headline,
    method_lines,
    model_lines,
    moment,
    read_lines,
    session_lines,
    status_line,
    targets_table,
)
from harness.traces.figures import TraceFigures
from harness.traces.trace import Trace

_LEFT_IN_URLS = "!$'()*+,/:;=?@[]^`{|}~<> "
# What a spreadsheet takes for a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_trace_report(folder: Path, data: TraceData) -> Path:
    """Write report.html, targets.csv and minutes.csv into a new folder; return the page's path.

    Raises UserError if the folder is there already, or cannot be written.
    """
    try:
        folder.mkdir(parents=True)
        write_text(folder / "report.html", trace_page(data))
        write_text(folder / "targets.csv", _csv(_target_rows(data.figures)))
        write_text(folder / "minutes.csv", _csv(_window_rows(data.trace, data.figures)))
    except FileExistsError:
        raise UserError(f"{folder}: there is something already; expected the name of a new folder") from None
    except OSError as error:
        raise UserError(f"{folder}: the report cannot be written ({error.strerror or error})") from None
    return folder / "report.html"


def trace_page(data: TraceData) -> str:
    """Return the page."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    trace, figures = data.trace, data.figures
    plots = [
        {
            "name": name,
            "caption": PLOTS[name].caption,
            "svg": quote(" ".join(svg.split()), safe=_LEFT_IN_URLS),
        }
        for name, svg in draw_trace_plots(data).items()
    ]
    page = environment.get_template("trace.html.j2").render(
        style=style("page.css"),
        headline=headline(figures),
        read=[*read_lines(trace), status_line(figures)],
        balance=list(balance_lines(figures)),
        targets=targets_table(figures),
        changes=list(change_lines(figures)),
        sessions=[*session_lines(trace, figures), *client_lines(trace, figures)],
        model=list(model_lines(data.model)),
        methods=method_lines(),
        plots=plots,
    )
    return visible(page)


def _target_rows(figures: TraceFigures) -> Iterable[Sequence[object]]:
    yield ["target", "requests", "share", "failed", "refused_4xx", "p50_ms", "p99_ms", "first_s", "last_s"]
    for target in figures.targets:
        times = [target.time_ns.get(name) for name in ("p50", "p99")]
        yield [
            *(target.name, target.requests, f"{target.share:.6g}", target.failed, target.refused),
            *("" if time is None else f"{time / 1e6:.6g}" for time in times),
            *(f"{target.presence.first_s:.3f}", f"{target.presence.last_s:.3f}"),
        ]


def _window_rows(trace: Trace, figures: TraceFigures) -> Iterable[Sequence[object]]:
    yield ["start_utc", "target", "requests"]
    windows = figures.windows
    for window, target, requests in windows.by_target.iter_rows():
        yield [moment(figures.start_ns, window * windows.width_s), trace.targets[target], requests]


def _csv(rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula, without control characters."""
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
