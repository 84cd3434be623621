"""The story of one cell: start, confirm, warm up, measure, stop, collect the ledgers."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.errors import LabError, UserError
from harness.plan.cells import CellPlan, planned_in_window
from harness.plan.run_options import RunOptions
from harness.proxy.endpoints import group_of
from harness.record.directory import RunWriter, store_rows
from harness.run.client_settings import client_settings
from harness.run.confirm import confirm_clients
from harness.run.progress import RunProgress
from harness.spec.experiment import Experiment
from harness.testbed.base import LiveCell, Testbed
from lb.rows import MESSAGE_COLUMNS, REQUEST_COLUMNS
from load.order import (
    EXPECTED_WORKERS_TIMEOUT_S,
    MESSAGES_FILE,
    REQUESTS_FILE,
    STATUS_FILE,
    STOPPED_EARLY,
    WORKERS_FILE,
    LoadOrder,
)

POLL_S = 0.05
LOAD_GRACE_S = 30.0  # beyond its plan and the calls' deadline, before a load counts as hung
PLAYING = ("warm_up", "measure", "done")  # states of a load whose clients are connected


class CellRun:
    """Runs one planned cell on `testbed` and leaves its record in a folder of its own."""

    def __init__(
        self, experiment: Experiment, plan: CellPlan, testbed: Testbed, writer: RunWriter, options: RunOptions
    ) -> None:
        self._experiment = experiment
        self._plan = plan
        self._testbed = testbed
        self._writer = writer
        self._options = options
        self._folder = writer.cell(plan.arm_name, plan.repeat)
        self._epoch_ns = time.monotonic_ns()
        direct = plan.arm.route == "direct"
        self._info: dict[str, Any] = {
            "arm": plan.arm_name,
            "repeat": plan.repeat,
            "order": plan.order,
            "route": plan.arm.route,
            "policy": plan.arm.policy,
            "status": "interrupted",
            "replicas": {},
            "proxy_workers": plan.arm.proxy_workers,
            "most_attempts": plan.arm.retries.attempts if plan.arm.retries else 1,
            "groups": {} if direct else group_of(plan.arm, experiment.replicas.names),
            "planned_requests": planned_in_window(plan),
            "planned_rate_per_s": plan.load.rate_per_s,
            "measure_start_ns": 0,
            "measure_end_ns": 0,
            "epoch_unix_ns": time.time_ns(),
            "first_replicas": experiment.replicas.names,
            "torn": [],
            "proxy_torn": False,
            "awaits_answers": plan.arm.await_each_answer,
        }

    def run(self, progress: RunProgress) -> int:
        """Run the cell from start to ledgers on disk; returns the number of calls that were made.

        Raises LabError naming the log of a part that fails. However it ends, what was measured is kept and
        cell.json says how it ended.
        """
        try:
            live = self._testbed.start_cell(self._experiment, self._plan, self._folder, self._epoch_ns)
            self._info |= {"replicas": live.replicas, "no_ledgers": live.no_ledgers}
            self._info["first_replicas"] = list(live.replicas)
            if not live.ours:  # nobody has dealt them out to groups as planned
                self._info["groups"] = {}
            self._note("parts_ready", pids=live.pids)
            self._writer.write_cell(self._folder, self._info)
            self._confirm(live)
            status = self._play(live, progress)
            self._info["status"] = "completed" if status["state"] == "done" else "interrupted"
            _snapshot(live, "after")
        except (LabError, OSError):
            self._info["status"] = "failed"
            raise
        finally:
            self._testbed.stop_load()
            self._testbed.stop_cell()
            self._collect()
            self._writer.write_cell(self._folder, self._info)
            self._note("collected")
        return int(status["answered"])

    def _confirm(self, live: LiveCell) -> None:
        # gRPC is imported while the parts start anyway, not before the first of them.
        from harness.run.confirm import confirm_cell

        confirm_cell(self._experiment, self._plan, live)
        _snapshot(live, "before")
        self._note("confirmed")

    def _play(self, live: LiveCell, progress: RunProgress) -> dict[str, Any]:
        """Warm up and measure; returns the load's last status."""
        order = self._folder / "load-order.json"
        self._order(live).write(order)
        work = self._plan.workload
        patience_s = work.warm_up_s + work.duration_s + 4 * work.deadline_ms / 1000 + LOAD_GRACE_S
        if self._options.load.expect_workers:
            patience_s += EXPECTED_WORKERS_TIMEOUT_S
        log = self._folder / "logs" / "load.log"
        started_s = time.monotonic()
        self._testbed.start_load(order, self._folder)
        self._note("load_started")
        confirmed = False
        with self._events(live) as tick:
            while (exit_status := self._testbed.load_status()) is None:
                elapsed_s = time.monotonic() - started_s
                status = _load_status(self._folder)
                if not confirmed and status.get("state") in PLAYING:
                    confirm_clients(self._plan, self._folder)
                    confirmed = True
                progress.load(elapsed_s, status)
                if elapsed_s > patience_s:
                    raise LabError(f"the load did not end after {patience_s:g} s; see {log}")
                time.sleep(tick(status))
        if exit_status not in (0, STOPPED_EARLY):
            why = _load_status(self._folder).get("error", f"status {exit_status}")
            raise LabError(f"the load failed ({why}); see {log}")
        self._note("load_ended", exit_status=exit_status)
        return _load_status(self._folder)

    @contextmanager
    def _events(self, live: LiveCell) -> Iterator[Callable[[dict[str, Any]], float]]:
        """What plays the events: to be called with the load's status; the seconds to the next call."""
        if not self._plan.events:
            yield lambda _status: POLL_S
            return
        from harness.events.context import EventContext
        from harness.events.player import EventPlayer

        context = EventContext(self._experiment, self._plan, live, self._testbed.fleet, self._note)
        player = EventPlayer(context, self._epoch_ns)
        try:
            yield player.tick
        finally:
            player.close()
            self._info |= {"torn": sorted(context.killed), "proxy_torn": context.proxy_restarted}
            if self._info["groups"]:  # those that joined have one, too
                self._info["groups"] = group_of(self._plan.arm, list(live.replicas))

    def _order(self, live: LiveCell) -> LoadOrder:
        work = self._plan.workload
        settings = client_settings(self._plan, live, self._epoch_ns)
        return LoadOrder(
            self._plan.load,
            settings,
            work.warm_up_s,
            work.duration_s,
            self._folder,
            web_port=self._options.web_port if self._options.web else None,
            title=self._title(),
            last=self._plan.order + 1 == len(self._experiment.variants) * self._experiment.repeats,
            **asdict(self._options.load),
        )

    def _title(self) -> str:
        plan, experiment = self._plan, self._experiment
        return (
            f"{experiment.name}, arm {plan.arm_name} (route {plan.arm.route}, policy {plan.arm.policy}), "
            f"repeat {plan.repeat} of {experiment.repeats}, {experiment.replicas.count} replicas"
        )

    def _collect(self) -> None:
        """Turn the load's rows into tables, and take over the window that it measured."""
        status = _load_status(self._folder)
        for name in ("measure_start_ns", "measure_end_ns"):
            self._info[name] = status.get(name, 0)
        workers = self._folder / WORKERS_FILE
        if workers.exists():
            self._info["load_workers"] = json.loads(workers.read_text())
        for name, columns in ((REQUESTS_FILE, REQUEST_COLUMNS), (MESSAGES_FILE, MESSAGE_COLUMNS)):
            rows = self._folder / name
            if rows.exists():
                try:
                    store_rows(rows, rows.with_suffix(".parquet"), columns)
                except UserError as error:
                    raise LabError(f"the load's rows could not be stored: {error}") from error

    def _note(self, event: str, /, **details: object) -> None:
        """Append to events.jsonl what was done, and when in nanoseconds from the cell's epoch."""
        line = json.dumps({"t_ns": time.monotonic_ns() - self._epoch_ns, "event": event, **details})
        with (self._folder / "events.jsonl").open("a") as events:
            events.write(line + "\n")


def _snapshot(live: LiveCell, when: str) -> None:
    """Keep what Envoy says of itself, before or after the load."""
    if live.envoy is None:
        return
    folder = live.folder / "envoy"
    (folder / f"clusters.{when}.json").write_text(live.envoy.get("/clusters?format=json"))
    if when == "before":
        (folder / "config_dump.json").write_text(live.envoy.get("/config_dump?include_eds"))


def _load_status(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / STATUS_FILE).read_text()))
    except FileNotFoundError:
        return {}
