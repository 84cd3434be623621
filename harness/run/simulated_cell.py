"""The story of one simulated cell: plan, compute, write the ledgers. Nothing is started."""

from harness.plan.cells import CellPlan
from harness.record.event_log import EVENTS, CellStarted, Collected, LoadEnded, LoadStarted, line_text
from harness.record.run_directory import RunWriter
from harness.run.planned_record import planned_record
from harness.run.progress import RunProgress
from harness.spec.experiment import Experiment


class SimulatedCellRun:
    """Simulates one planned cell and leaves the record that a measured one would leave."""

    def __init__(self, experiment: Experiment, plan: CellPlan, writer: RunWriter) -> None:
        self._experiment = experiment
        self._plan = plan
        self._writer = writer
        self._folder = writer.cell(plan.arm_name, plan.repeat)
        self._record = planned_record(experiment, plan, writer.manifest)

    def run(self, _progress: RunProgress) -> int:
        """Simulate the cell and write its record; return the number of calls that were made."""
        from harness.testbed.simulated.ledgers import SimulatedCell, write_ledgers
        from harness.testbed.simulated.model import calls_of, system_of
        from simulator.simulation import simulate

        plan, record = self._plan, self._record
        system = system_of(self._experiment, plan)
        calls, request_ids = calls_of(self._experiment, plan)
        outcome = simulate(system, calls)
        names = self._experiment.replicas.names
        record.replicas = {
            name: replica.address for name, replica in zip(names, system.replicas, strict=True)
        }
        record.measure_start_ns = outcome.measure_start_ns
        record.measure_end_ns = outcome.measure_start_ns + round(plan.workload.duration_s * 1e9)
        cell = SimulatedCell(
            calls, outcome, request_ids, record.replicas, plan.arm.route, record.epoch_unix_ns
        )
        made = write_ledgers(cell, self._folder)
        end_ns = int(outcome.answered_ns.max(initial=0))
        lines = [CellStarted(), LoadStarted(), LoadEnded(t_ns=end_ns, exit_status=0), Collected(t_ns=end_ns)]
        (self._folder / EVENTS).write_text("".join(map(line_text, lines)))
        record.status = "completed"
        self._writer.write_cell(self._folder, record)
        return made
