"""The records of a cell that come from its plan: its entry in the manifest, and cell.json as it begins."""

from harness.plan.cells import CellPlan, planned_in_window
from harness.plan.rate_path import planned_rates
from harness.record.cell_record import CellRecord
from harness.record.manifest import Manifest, PlannedCell, SearchedValue
from harness.run.epoch import Epoch
from harness.spec.experiment import Experiment


def planned_cell(plan: CellPlan) -> PlannedCell:
    """Return the entry of a cell that comes next in the manifest."""
    own = plan.searched
    searched = None if own is None else SearchedValue(arm=own.name, value=own.value)
    return PlannedCell(arm=plan.arm_name, repeat=plan.repeat, searched=searched)


def planned_record(experiment: Experiment, plan: CellPlan, manifest: Manifest, epoch: Epoch) -> CellRecord:
    """Return the record of a cell that begins at `epoch`."""
    return CellRecord(
        arm=plan.arm_name,
        repeat=plan.repeat,
        order=plan.order,
        route=plan.arm.route,
        policy=plan.arm.policy,
        initial_replicas=experiment.replicas.names,
        proxy_workers=plan.arm.proxy_workers,
        max_attempts=plan.arm.max_attempts,
        awaits_answers=plan.arm.await_each_answer,
        planned_requests=planned_in_window(plan),
        messages_per_stream=plan.workload.messages_per_stream,
        planned_rate_per_s=plan.load.rate_per_s,
        own_tasks=plan.workload.locustfile is not None,
        planned_rates_per_s=planned_rates(plan.load, plan.workload.duration_s),
        epoch_unix_ns=epoch.unix_ns,
        attempt=manifest.cells[plan.order].attempts + 1,
        service=None if experiment.service is None else experiment.service.method,
        replica_from=None if experiment.service is None else experiment.service.replica_from,
    )
