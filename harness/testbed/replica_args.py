"""Builds the command-line arguments of a replica: those after `python -m services.replica`."""

from harness.events.schedule import delays_kept_by
from harness.plan.cells import CellPlan
from harness.proxy.tls import TlsFiles
from harness.testbed.cell_context import CellContext

MIN_GRACE_S = 1.0


def replica_args(context: CellContext, name: str, listen: str) -> list[str]:
    """Return the arguments of services.replica for the replica `name` that listens on `listen`."""
    experiment, plan, number = context.experiment, context.plan, int(name.rpartition("-")[2])
    return [
        *("--name", name, "--listen", listen),
        *("--settings", experiment.replicas.settings_of(name, plan.arm).to_json()),
        *(["--grace-s", repr(grace_s)] if (grace_s := _grace_s(plan)) != MIN_GRACE_S else []),
        # All arms of a repeat use the same seed. It differs between repeats and between replicas.
        *("--seed", str((experiment.seed * 1000 + plan.repeat) * 1000 + number)),
        *("--ledger", str(context.folder / f"{name}.csv")),
        *("--ready", str(context.ready_file(name))),
        *("--epoch-ns", str(context.epoch_ns)),
        *(_tls_args(context.tls) if context.tls else []),
    ]


def _grace_s(plan: CellPlan) -> float:
    """How long calls in hand may take when a replica is stopped: what the events say, a second at least."""
    return max([MIN_GRACE_S, *delays_kept_by("replica", plan.events)])


def _tls_args(tls: TlsFiles) -> list[str]:
    return [
        *("--tls-listen", "127.0.0.1:0"),
        *("--tls-certificate", str(tls.certificate), "--tls-key", str(tls.key)),
    ]
