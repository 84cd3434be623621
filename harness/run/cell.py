"""The story of one cell: start, confirm, warm up, measure, stop, collect the ledgers."""

import json
import time
from collections import ChainMap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from harness.errors import LabError, UserError
from harness.fields import PROXIED, is_proxy
from harness.plan.cells import CellPlan
from harness.plan.run_options import RunOptions
from harness.proxy.render import group_of
from harness.record.cell_record import FailureRecord, LoadWorkerRecord, write_machine
from harness.record.event_log import Collected, Confirmed, EventLog, LoadEnded, LoadStarted, PartsReady
from harness.record.ledger_files import store_ledgers
from harness.record.run_directory import RunWriter
from harness.record.tables import store_rows
from harness.record.usage import USAGE_FILE
from harness.run.epoch import read_epoch
from harness.run.machine_watch import MachineWatch
from harness.run.part_usage import PartUsage
from harness.run.planned_record import planned_record
from harness.run.progress import RunProgress
from harness.run.wall_clock import WallClock
from harness.run.what_died import what_died
from harness.spec.experiment import Experiment
from harness.spec.zones import zones_of
from harness.testbed.base import LiveCell, Testbed
from lb.rows import MESSAGE_COLUMNS, REQUEST_COLUMNS
from load.order import (
    EXPECTED_WORKERS_TIMEOUT_S,
    FAILURES_FILE,
    MESSAGES_FILE,
    REQUESTS_FILE,
    STOPPED_EARLY,
    WORKERS_FILE,
    LoadOrder,
    LoadStatus,
)

POLL_S = 0.05
MAX_FAILURES = 5  # ways in which requests failed, in cell.json
LOAD_GRACE_S = 30.0  # beyond its plan and the calls' deadline, before a load counts as hung
PLAYING = ("warm_up", "measure", "done")  # states of a load whose clients are connected


class CellRun:
    """Runs one planned cell on `testbed` and leaves its record in a folder of its own."""

    def __init__(
        self,
        experiment: Experiment,
        plan: CellPlan,
        testbed: Testbed,
        writer: RunWriter,
        options: RunOptions,
        before_load: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare the run of a cell. before_load: called once the parts are confirmed, before the load."""
        self._experiment = experiment
        self._plan = plan
        self._testbed = testbed
        self._writer = writer
        self._options = options
        self._before_load = before_load
        self._folder = writer.cell(plan.arm_name, plan.repeat)
        epoch = read_epoch()
        self._epoch_ns = epoch.monotonic_ns
        self._wall_clock = WallClock(epoch)
        self._log = EventLog(self._folder, self._epoch_ns)
        self._machine = MachineWatch(self._epoch_ns)
        # Containers are counted by their engine.
        local = options.testbed == "local"
        self._usage = PartUsage(self._folder / USAGE_FILE, self._epoch_ns) if local else None
        self._live: LiveCell | None = None
        self._record = planned_record(experiment, plan, writer.manifest, epoch)

    def run(self, progress: RunProgress) -> int:
        """Run the cell from start to ledgers on disk; return the number of calls that were made.

        Raises LabError naming the log of a part that fails. Measured rows are kept however the cell ends;
        cell.json has the status.
        """
        record = self._record
        try:
            live = self._testbed.start_cell(self._experiment, self._plan, self._folder, self._epoch_ns)
            self._live = live
            record.initial_replicas = list(live.replicas)
            self._log.write(PartsReady(pids=live.pids))
            self._write()
            # gRPC is imported while the parts start anyway, not before the first of them.
            from harness.run.confirm import confirm_cell, snapshot_nodes

            with what_died(self._testbed):
                confirm_cell(self._experiment, self._plan, live)
                snapshot_nodes(live, "before")
                self._log.write(Confirmed())
                self._before_load()
                status = self._play(live, progress)
                record.status = "completed"
                if not any(
                    map(is_proxy, self._machine.stopped)
                ):  # an Envoy that somebody has stopped does not answer
                    snapshot_nodes(live, "after")
        except (LabError, OSError):
            record.status = "failed"
            raise
        finally:
            self._machine.stop()
            if self._usage is not None:
                self._usage.stop()
            self._testbed.stop_load()
            self._testbed.stop_cell()
            self._collect()
            self._write()
            self._log.write(Collected())
        return status.answered

    def _write(self) -> None:
        """Write cell.json with the live parts that are known now: replicas join while measuring."""
        record, live = self._record, self._live
        if live is not None:
            record.replicas, record.missing_ledgers = live.replicas, live.missing_ledgers
            record.proxies = live.several_proxies
            record.own_clocks = not live.started_by_lab
            record.trace_prefix = live.trace_prefix or None
            # Replicas that are not the lab's were not dealt out to groups as planned.
            if live.started_by_lab and record.route in PROXIED:
                record.groups = group_of(self._plan.arm, list(live.replicas))
                record.zones = zones_of(self._plan.arm, live.proxies, live.replicas)
        self._writer.write_cell(self._folder, record)

    def _play(self, live: LiveCell, progress: RunProgress) -> LoadStatus:
        """Warm up and measure; returns the load's last status."""
        from harness.run.confirm import confirm_clients

        order = self._folder / "load-order.json"
        self._order(live).write(order)
        work = self._plan.workload
        patience_s = work.warm_up_s + work.duration_s + 4 * work.deadline_ms / 1000 + LOAD_GRACE_S
        if work.spawn_rate is not None:
            patience_s += work.clients / work.spawn_rate
        if self._options.load.expect_workers:
            patience_s += EXPECTED_WORKERS_TIMEOUT_S
        log = self._folder / "logs" / "load.log"
        started_s = time.monotonic()
        load = self._testbed.start_load(order, self._folder)
        self._machine.start(live.pids, live.pids.get("load", load.pid), live.paused)
        if self._usage is not None:
            self._usage.start(ChainMap(live.pids, {"load": load.pid}))
        self._log.write(LoadStarted())
        confirmed = False
        with self._events(live) as tick:
            while (exit_status := self._testbed.load_status()) is None:
                elapsed_s = time.monotonic() - started_s
                status = LoadStatus.read(self._folder)
                if not confirmed and status.state in PLAYING:
                    confirm_clients(self._plan, live)
                    confirmed = True
                progress.load(elapsed_s, status)
                self._wall_clock.look()
                if elapsed_s > patience_s:
                    stopped = " and ".join(sorted(self._machine.stopped))
                    why = f", and {stopped} is stopped (SIGSTOP)" if stopped else ""
                    raise LabError(f"the load did not end after {patience_s:g} s{why}; see {log}")
                self._testbed.wait_for_load(tick(status))
        if exit_status == STOPPED_EARLY:
            raise LabError(f"the load got SIGTERM, which the lab did not send, and stopped early; see {log}")
        if exit_status:
            why = LoadStatus.read(self._folder).error or f"status {exit_status}"
            raise LabError(f"the load failed ({why}); see {log}")
        self._log.write(LoadEnded(exit_status=exit_status))
        return LoadStatus.read(self._folder)

    @contextmanager
    def _events(self, live: LiveCell) -> Iterator[Callable[[LoadStatus], float]]:
        """Yield a function that plays the events that are due; it returns the seconds until its next call."""
        if not self._plan.events:
            yield lambda _status: POLL_S
            return
        from harness.run.event_player import CellEventContext, EventPlayer

        context = CellEventContext(self._experiment, self._plan, live, self._testbed.fleet, self._log)
        player = EventPlayer(context, self._epoch_ns)
        try:
            yield player.tick
        finally:
            player.close()
            context.close()
            # The proxy stands first.
            names = sorted(context.incomplete_ledgers, key=lambda name: (not is_proxy(name), name))
            self._record.incomplete_ledgers = names

    def _order(self, live: LiveCell) -> LoadOrder:
        work = self._plan.workload
        from harness.run.confirm import client_settings

        settings = client_settings(self._plan, live, self._epoch_ns)
        return LoadOrder(
            self._plan.load,
            settings,
            work.warm_up_s,
            work.duration_s,
            self._folder,
            web_port=self._options.web_port if self._options.web else None,
            title=self._title(),
            locustfile=None if work.locustfile is None else Path(work.locustfile),
            spawn_rate=work.spawn_rate,
            last=self._options.load.expect_workers > 0
            and self._plan.order + 1 == len(self._experiment.variants) * self._experiment.repeats.min,
            **asdict(self._options.load),
        )

    def _title(self) -> str:
        plan, experiment = self._plan, self._experiment
        return (
            f"{experiment.name}, arm {plan.arm_name} (route {plan.arm.route}, policy {plan.arm.policy}), "
            f"repeat {plan.repeat} of {experiment.repeats.in_words}, {experiment.replicas.count} replicas"
        )

    def _collect(self) -> None:
        """Turn the load's rows into tables, and take over the window that it measured."""
        status, record = LoadStatus.read(self._folder), self._record
        record.measure_start_ns, record.measure_end_ns = status.measure_start_ns, status.measure_end_ns
        self._wall_clock.look()
        record.wall_clock_moved_ns = self._wall_clock.moved_ns
        write_machine(self._folder, self._machine.summary(status.measure_start_ns, status.measure_end_ns))
        failures = self._folder / FAILURES_FILE
        if failures.exists():
            most = json.loads(failures.read_text())[:MAX_FAILURES]
            record.failures = [FailureRecord(**one) for one in most]
        workers = self._folder / WORKERS_FILE
        if workers.exists():
            record.load_workers = [LoadWorkerRecord(**one) for one in json.loads(workers.read_text())]
        for name, columns in ((REQUESTS_FILE, REQUEST_COLUMNS), (MESSAGES_FILE, MESSAGE_COLUMNS)):
            rows = self._folder / name
            try:
                if rows.exists():
                    store_rows(rows, rows.with_suffix(".parquet"), columns)
            except UserError as error:
                raise LabError(f"the load's rows could not be stored: {error}") from error
        try:
            # Replicas and nodes that joined while measuring are in the live cell only.
            names = self._live.replicas if self._live else ()
            nodes = self._live.several_proxies if self._live else ()
            store_ledgers(self._folder, names, nodes)
        except UserError as error:
            # A cell that has failed says why. Its ledgers stay as they were written.
            if record.status != "failed":
                raise LabError(f"the ledgers could not be stored: {error}") from error
