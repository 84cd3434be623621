"""`observe`: reads access logs, prints what they show, and writes a report, a trace or an experiment."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from harness.errors import UserError, did_you_mean
from harness.output.safe_console import SafeConsole
from harness.output.safe_text import say
from harness.paths import RESULTS
from harness.record.record_file import write_text
from harness.report.trace_page import write_trace_report
from harness.report.trace_plots import TraceData
from harness.report.trace_terminal import print_trace
from harness.traces.draft import draft_yaml
from harness.traces.figures import figures_of
from harness.traces.log_format import FORMATS, LogFormat
from harness.traces.model import model_of
from harness.traces.named_columns import parse_mapping
from harness.traces.pseudonyms import trace_key
from harness.traces.read import ReadOptions, read_trace

_EXPERIMENT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}\.ya?ml")


@dataclass(frozen=True)
class ObserveOptions:
    """The options of the command. log_format: "auto" or one of FORMATS. report: None: a new folder."""

    log_format: str
    columns: str | None
    client: str
    key_file: Path | None
    keep_paths: bool
    keep_targets: bool
    max_broken: float
    report: Path | None
    save_trace: Path | None
    write: Path | None


def observe_logs(files: Sequence[Path], options: ObserveOptions) -> int:
    """Read the logs, print the summary, write what was asked for. Return the exit status, 0.

    Raises UserError for anything that the user can mend.
    """
    _check_outputs(files, options)
    trace = read_trace(files, _read_options(options))
    figures = figures_of(trace)
    model = model_of(trace, figures)
    print_trace(trace, figures, model, SafeConsole())
    folder = options.report or _new_folder()
    page = write_trace_report(folder, TraceData(trace, figures, model))
    if options.save_trace is not None:
        trace.save(options.save_trace)
        say(f"trace: {options.save_trace}")
    if options.write is not None:
        try:
            write_text(options.write, draft_yaml(figures, model))
        except OSError as error:
            raise UserError(f"{options.write}: cannot be written ({error.strerror or error})") from None
        say(f"experiment: {options.write}")
    say(f"report: {page}")
    return 0


def _read_options(options: ObserveOptions) -> ReadOptions:
    return ReadOptions(
        key=trace_key(options.key_file),
        identity=options.client,
        log_format=_log_format(options.log_format),
        columns=None if options.columns is None else parse_mapping(options.columns),
        keep_paths=options.keep_paths,
        keep_targets=options.keep_targets,
        max_broken=options.max_broken,
    )


def _log_format(name: str) -> LogFormat | None:
    if name == "auto":
        return None
    for known in get_args(LogFormat):
        if name == known:
            return known  # type: ignore[no-any-return]
    hint = did_you_mean(name, FORMATS) or f"; expected auto, {', '.join(FORMATS)}"
    raise UserError(f"--format: {name!r} is no format of logs{hint}")


def _check_outputs(files: Sequence[Path], options: ObserveOptions) -> None:
    """Raise UserError for an output that cannot be meant, before the logs are read."""
    for name, path in (("--save-trace", options.save_trace), ("--write", options.write)):
        if path is None:
            continue
        if any(path.resolve() == file.resolve() for file in files):
            raise UserError(f"{name}: {path} is one of the logs; expected another file")
        if not path.parent.is_dir():
            raise UserError(f"{name}: {path}: there is no folder {path.parent}")
    if options.write is not None and not _EXPERIMENT_NAME.fullmatch(options.write.name):
        raise UserError(
            f"--write: {options.write}: expected a file NAME.yaml, with a name of A-Z a-z 0-9 _ . -"
        )
    if options.write is not None and options.write.exists():
        raise UserError(f"--write: {options.write} is there already; remove it or name another file")
    if options.report is not None and options.report.exists():
        raise UserError(f"--report: {options.report} is there already; expected the name of a new folder")


def _new_folder() -> Path:
    return RESULTS / "observed" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
