"""The story of one experiment: start, confirm, warm up, measure, stop, judge, tell."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from harness.cells import CellPlan, plan_cells, planned_in_window
from harness.errors import LabError, UserError
from harness.interrupt import one_interrupt
from harness.options import RunOptions
from harness.progress import RunProgress
from harness.provenance import git_commit, host, versions
from harness.record import RunWriter, store_rows
from harness.spec import Experiment, experiment_yaml
from harness.testbed.base import LiveCell, Testbed
from harness.testbed.local import WORKERS, LocalTestbed
from lb.rows import MESSAGE_COLUMNS, REQUEST_COLUMNS
from lb.settings import ClientSettings
from load.order import MESSAGES_FILE, REQUESTS_FILE, STATUS_FILE, STOPPED_EARLY, LoadOrder

POLL_S = 0.05
EXIT_STATUS = {"held": 0, "refuted": 1, "inconclusive": 3}
LOAD_GRACE_S = 30.0  # beyond its plan and the calls' deadline, before a load counts as hung


def run_experiment(experiment: Experiment, options: RunOptions) -> int:
    """Run every cell, judge, write the report, print the table; return the exit status of the verdict.

    Raises UserError when the results folder cannot be written or the web page's port is taken (nothing is
    left behind), LabError when a part fails (the run is marked `failed`), KeyboardInterrupt on Ctrl-C and
    SIGTERM (the run is marked `interrupted`, with what was measured).
    """
    plans = plan_cells(experiment)
    if options.web:
        _confirm_free(options.web_port)
    with one_interrupt():
        writer = RunWriter.create(
            options.results.absolute(),  # the parts have another working directory
            experiment.name,
            _manifest(experiment, options, plans),
            experiment_yaml(experiment),
        )
        with _recorded(writer):
            testbed = LocalTestbed(writer.path / "logs")
            with testbed, RunProgress(experiment, len(plans), options.quiet) as progress:
                for plan in plans:
                    progress.cell(plan)
                    answered = _run_cell(experiment, plan, testbed, writer, options, progress)
                    progress.cell_done(plan, answered)
        return _tell(writer.path)


def _confirm_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UserError(
                f"--web-port: port {port} of 127.0.0.1 cannot be had ({error.strerror}); name another"
            ) from error


def _run_cell(
    experiment: Experiment,
    plan: CellPlan,
    testbed: Testbed,
    writer: RunWriter,
    options: RunOptions,
    progress: RunProgress,
) -> int:
    """One cell from start to ledgers on disk; returns the number of calls that were answered."""
    folder = writer.cell(plan.arm_name, plan.repeat)
    epoch_ns, epoch_unix_ns = time.monotonic_ns(), time.time_ns()
    cell = {
        "arm": plan.arm_name,
        "repeat": plan.repeat,
        "order": plan.order,
        "route": plan.arm.route,
        "policy": plan.arm.policy,
        "status": "interrupted",
        "replicas": {},
        "planned_requests": planned_in_window(experiment, plan.load),
        "planned_rate_per_s": plan.load.rate_per_s,
        "measure_start_ns": 0,
        "measure_end_ns": 0,
        "epoch_unix_ns": epoch_unix_ns,
    }
    status: dict[str, Any] = {}
    try:
        live = testbed.start_cell(experiment, plan, folder, epoch_ns)
        cell["replicas"] = live.replicas
        writer.write_cell(folder, cell)
        _confirm(experiment, plan, live)
        status = _play(experiment, plan, testbed, live, epoch_ns, options, progress)
        cell["status"] = "completed" if status["state"] == "done" else "interrupted"
        _snapshot(live, "after")
    except (LabError, OSError):
        cell["status"] = "failed"
        raise
    finally:
        testbed.stop_load()
        testbed.stop_cell()
        _collect(folder, cell)
        writer.write_cell(folder, cell)
    return int(status["answered"])


def _confirm(experiment: Experiment, plan: CellPlan, live: LiveCell) -> None:
    # gRPC is imported while the parts start anyway, not before the first of them.
    from harness.confirm import confirm_cell

    confirm_cell(experiment, plan, live, WORKERS)
    _snapshot(live, "before")


def _snapshot(live: LiveCell, when: str) -> None:
    """Keep what Envoy says of itself, before or after the load."""
    if live.envoy is None:
        return
    folder = live.folder / "envoy"
    (folder / f"clusters.{when}.json").write_text(live.envoy.get("/clusters?format=json"))
    if when == "before":
        (folder / "config_dump.json").write_text(live.envoy.get("/config_dump?include_eds"))


def _play(
    experiment: Experiment,
    plan: CellPlan,
    testbed: Testbed,
    live: LiveCell,
    epoch_ns: int,
    options: RunOptions,
    progress: RunProgress,
) -> dict[str, Any]:
    """Warm up and measure; returns the load's last status. Raises LabError when it or a part fails."""
    order = live.folder / "load-order.json"
    _order(experiment, plan, live, epoch_ns, options).write(order)
    work = experiment.workload
    patience_s = work.warm_up_s + work.duration_s + 2 * work.deadline_ms / 1000 + LOAD_GRACE_S
    log = live.folder / "logs" / "load.log"
    started_s = time.monotonic()
    testbed.start_load(order, live.folder)
    while (exit_status := testbed.load_status()) is None:
        elapsed_s = time.monotonic() - started_s
        progress.load(elapsed_s, _load_status(live.folder))
        if elapsed_s > patience_s:
            raise LabError(f"the load did not end after {patience_s:g} s; see {log}")
        time.sleep(POLL_S)
    if exit_status not in (0, STOPPED_EARLY):
        raise LabError(f"the load failed (status {exit_status}); see {log}")
    return _load_status(live.folder)


def _order(
    experiment: Experiment, plan: CellPlan, live: LiveCell, epoch_ns: int, options: RunOptions
) -> LoadOrder:
    work = experiment.workload
    settings = ClientSettings(
        target=live.target,
        policy=plan.arm.policy if plan.arm.route == "direct" else None,
        cookie_jar=plan.cookies,
        await_first_answer=plan.arm.await_first_answer,
        messages_per_stream=work.messages_per_stream,
        deadline_s=work.deadline_ms / 1000,
        epoch_ns=epoch_ns,
    )
    port = options.web_port if options.web else None
    return LoadOrder(plan.load, settings, work.warm_up_s, work.duration_s, live.folder, port)


def _load_status(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / STATUS_FILE).read_text()))
    except FileNotFoundError:
        return {}


def _collect(folder: Path, cell: dict[str, Any]) -> None:
    """Turn the load's rows into tables, and take over the window that it measured."""
    status = _load_status(folder)
    for name in ("measure_start_ns", "measure_end_ns"):
        cell[name] = status.get(name, 0)
    for name, columns in ((REQUESTS_FILE, REQUEST_COLUMNS), (MESSAGES_FILE, MESSAGE_COLUMNS)):
        rows = folder / name
        if rows.exists():
            try:
                store_rows(rows, rows.with_suffix(".parquet"), columns)
            except UserError as error:
                raise LabError(f"the load's rows could not be stored: {error}") from error


def _manifest(experiment: Experiment, options: RunOptions, plans: list[CellPlan]) -> dict[str, Any]:
    return {
        "seed": experiment.seed,
        "versions": versions(),
        "host": host(),
        "git_commit": git_commit(),
        "overrides": options.overrides,
        "cells": [{"arm": plan.arm_name, "repeat": plan.repeat} for plan in plans],
    }


@contextmanager
def _recorded(writer: RunWriter) -> Iterator[None]:
    """Write into the manifest how the run ended."""
    try:
        yield
        writer.finish("completed")
    except KeyboardInterrupt:
        _finish(writer, "interrupted")
        raise
    except OSError as error:
        message = f"cannot write {error.filename or writer.path}: {error.strerror or error}"
        _finish(writer, "failed", message)
        raise LabError(message) from error
    except BaseException as error:
        _finish(writer, "failed", str(error) or type(error).__name__)
        raise


def _finish(writer: RunWriter, status: str, message: str | None = None) -> None:
    # Where nothing can be written any more, the manifest goes on saying "interrupted", as it began.
    with suppress(OSError):
        writer.finish(status, message)


def _tell(run: Path) -> int:
    """Derive everything from the run directory, print it, and return the verdict's exit status."""
    # Polars and matplotlib are imported after the last cell, not before the first.
    from rich.console import Console

    from harness.console import print_summary
    from harness.report import build_report

    report = build_report(run)
    summary = json.loads((run / "summary.json").read_text())
    print_summary(summary, Console(), report)
    return EXIT_STATUS[summary["verdict"]]
