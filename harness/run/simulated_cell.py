"""The story of one simulated cell: plan, compute, write the ledgers. Nothing is started."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.fields import proxy_names
from harness.output.safe_text import say
from harness.plan.cells import CellPlan
from harness.plan.pool import Pool
from harness.record.event_log import EVENTS, CellStarted, Collected, Line, LoadEnded, LoadStarted, line_text
from harness.record.run_directory import RunWriter
from harness.run.epoch import read_epoch
from harness.run.planned_record import planned_record
from harness.run.progress import RunProgress
from harness.run.repeats import Rounds
from harness.spec.experiment import Experiment
from harness.spec.zones import zones_of

if TYPE_CHECKING:
    from harness.testbed.simulated.computed import ComputedCell


class ComputedCells:
    """Has the cells of each round computed in a pool, side by side if it can do that."""

    def __init__(self, experiment: Experiment, pool: Pool) -> None:
        self._experiment, self._pool = experiment, pool
        self._coming: Iterator[ComputedCell] = iter(())

    def ahead(self, rounds: Rounds) -> Rounds:
        """Yield the rounds. What `next_cell` returns is then in the order of their cells."""
        from harness.testbed.simulated.computed import compute
        from simulator.compiled import is_compiled

        if not self._pool.is_elsewhere and not is_compiled("engine.run"):
            say("the simulator is compiled, once for each version: about 30 s of one core", error=True)
        shared = self._pool.share(self._experiment)
        for cells in rounds:
            self._coming = self._pool.map(compute, [shared] * len(cells), cells)
            yield cells

    def next_cell(self) -> ComputedCell:
        """Return the outcome of the next cell."""
        return next(self._coming)


class SimulatedCellRun:
    """Takes the outcome of one planned cell, and leaves the record that a measured one would leave."""

    def __init__(
        self, experiment: Experiment, plan: CellPlan, writer: RunWriter, computed: ComputedCells
    ) -> None:
        self._experiment = experiment
        self._plan = plan
        self._writer = writer
        self._computed = computed
        self._folder = writer.cell(plan.arm_name, plan.repeat)
        self._record = planned_record(experiment, plan, writer.manifest, read_epoch())

    def run(self, _progress: RunProgress) -> int:
        """Write the record of the cell; return the number of calls that were made."""
        from harness.testbed.simulated.ledgers import SimulatedCell, write_ledgers
        from harness.testbed.simulated.model import happenings, replica_names
        from harness.testbed.simulated.timeline import lines_of

        experiment, plan, record = self._experiment, self._plan, self._record
        computed = self._computed.next_cell()
        system, outcome = computed.system, computed.outcome
        names = replica_names(experiment, plan)
        record.replicas = {
            name: replica.address for name, replica in zip(names, system.replicas, strict=True)
        }
        record.measure_start_ns = outcome.measure_start_ns
        record.measure_end_ns = outcome.measure_start_ns + round(plan.workload.duration_s * 1e9)
        if plan.arm.proxies > 1:
            record.proxies = dict.fromkeys(proxy_names(plan.arm.proxies), "")
        record.zones = zones_of(plan.arm, record.proxies, names)
        cell = SimulatedCell(
            *(computed.calls, outcome, computed.request_ids, system.costs),
            replicas=record.replicas,
            route=record.route,
            epoch_unix_ns=record.epoch_unix_ns,
            nodes=list(record.proxies),
        )
        made = write_ledgers(cell, self._folder)
        events = happenings(experiment, plan, system.replicas)
        killed = {name for one in events if one.planned.event.do == "kill" for name in one.targets}
        record.incomplete_ledgers = sorted(killed)
        end_ns = int(outcome.answered_ns.max(initial=0))
        lines: list[Line] = [CellStarted(), LoadStarted(), *lines_of(plan, events, outcome, names)]
        lines += [LoadEnded(t_ns=end_ns, exit_status=0), Collected(t_ns=end_ns)]
        (self._folder / EVENTS).write_text("".join(map(line_text, lines)))
        record.status = "completed"
        self._writer.write_cell(self._folder, record)
        return made
