"""The context in which the components of one cell (replicas, proxy, load) start."""

import json
from dataclasses import dataclass
from pathlib import Path

from harness.events.schedule import delays_kept_by
from harness.plan.cells import CellPlan
from harness.proxy.tls import TlsFiles
from harness.spec.experiment import Experiment

MIN_GRACE_S = 1.0


@dataclass(frozen=True)
class CellContext:
    """What all components of a cell share.

    folder: the cell's folder; epoch_ns: the cell's start on the monotonic clock; tls: certificate and key,
    None if the components do not speak TLS.
    """

    experiment: Experiment
    plan: CellPlan
    folder: Path
    epoch_ns: int
    tls: TlsFiles | None

    def log(self, component: str) -> Path:
        """Return the file that holds the output of `component` ("replica-0", "envoy", "load")."""
        return self.folder / "logs" / f"{component}.log"

    def ready_file(self, replica: str) -> Path:
        """Return the file that the replica writes when it starts to serve."""
        return self.folder / "logs" / f"{replica}.ready.json"

    def ready(self, replica: str) -> dict[str, str] | None:
        """Return the content of the ready file (address, control_address, ...); None if it does not exist."""
        path = self.ready_file(replica)
        return dict(json.loads(path.read_text())) if path.exists() else None


def replica_args(context: CellContext, name: str, listen: str) -> list[str]:
    """Return the arguments of services.replica for the replica `name` that listens on `listen`."""
    experiment, plan, number = context.experiment, context.plan, int(name.rpartition("-")[2])
    # How long calls in hand may take when the replica is stopped: what the events say, a second at least.
    grace_s = max([MIN_GRACE_S, *delays_kept_by("replica", plan.events)])
    arguments = [
        *("--name", name, "--listen", listen),
        *("--settings", experiment.replicas.settings_of(name, plan.arm).to_json()),
        *(["--grace-s", repr(grace_s)] if grace_s != MIN_GRACE_S else []),
        # All arms of a repeat use the same seed. It differs between repeats and between replicas.
        *("--seed", str((experiment.seed * 1000 + plan.repeat) * 1000 + number)),
        *("--ledger", str(context.folder / f"{name}.csv")),
        *("--ready", str(context.ready_file(name))),
        *("--epoch-ns", str(context.epoch_ns)),
    ]
    if context.tls is None:
        return arguments
    certificate, key = str(context.tls.certificate), str(context.tls.key)
    return [*arguments, "--tls-listen", "127.0.0.1:0", "--tls-certificate", certificate, "--tls-key", key]
