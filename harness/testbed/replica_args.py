"""How one replica is told what it is to be, on any testbed: the words after `python -m services.replica`."""

from harness.events.schedule import delays_kept_by
from harness.plan.cells import CellPlan, replica_connection_age_ms
from harness.proxy.tls import TlsFiles
from harness.spec.experiment import Replicas
from harness.testbed.cell_context import CellContext

MIN_GRACE_S = 1.0


def replica_args(context: CellContext, name: str, listen: str) -> list[str]:
    """The arguments of services.replica for the replica `name` that serves on `listen` ("host:port")."""
    experiment, plan, number = context.experiment, context.plan, int(name.rpartition("-")[2])
    replicas, age_ms = experiment.replicas, replica_connection_age_ms(plan.arm)
    service = replicas.service_time_ms
    return [
        *("--name", name, "--listen", listen),
        *("--service-time", f"{service.distribution}:{service.mean!r}"),
        *(["--burn-cpu"] if service.burn_cpu else []),
        *_trait_args(replicas, name),
        *(["--server", plan.arm.server] if plan.arm.server != "asyncio" else []),
        *(["--grace-s", repr(grace_s)] if (grace_s := _grace_s(plan)) != MIN_GRACE_S else []),
        *(["--max-connection-age-ms", str(age_ms)] if age_ms else []),
        # The same in every arm of a repeat, another for each repeat and replica.
        *("--seed", str((experiment.seed * 1000 + plan.repeat) * 1000 + number)),
        *("--ledger", str(context.folder / f"{name}.csv")),
        *("--ready", str(context.ready_file(name))),
        *("--epoch-ns", str(context.epoch_ns)),
        *(_tls_args(context.tls) if context.tls else []),
    ]


def _grace_s(plan: CellPlan) -> float:
    """How long calls in hand may take when a replica is stopped: what the events say, a second at least."""
    return max([MIN_GRACE_S, *delays_kept_by("replica", plan.events)])


def _trait_args(replicas: Replicas, name: str) -> list[str]:
    traits = replicas.traits(name)
    orca = traits.pop("orca")
    args = [word for key, value in traits.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    if orca is not None:
        args += ["--orca", str(orca)]
    if replicas.cache:
        args += ["--cache", f"{replicas.cache.sessions}:{replicas.cache.hit_factor!r}"]
    if replicas.outage:
        args += ["--outage", f"{replicas.outage.every_s!r}:{replicas.outage.for_ms!r}"]
    return args


def _tls_args(tls: TlsFiles) -> list[str]:
    return [
        *("--tls-listen", "127.0.0.1:0"),
        *("--tls-certificate", str(tls.certificate), "--tls-key", str(tls.key)),
    ]
