"""The replicas of one cell as processes on this machine: start, end, pause, and start again."""

import json
import signal

from harness.cells import CellPlan, replica_connection_age_ms
from harness.schedule import new_replicas
from harness.spec import Replicas
from harness.testbed.ports import HeldPorts
from harness.testbed.processes import Process
from harness.testbed.site import CellSite
from harness.tls import TlsFiles

LEAST_GRACE_S = 1.0


class LocalReplicas:
    """Every replica that a cell has at its start, and room for those that its events add.

    Addresses are given out for good: a replica that ends and starts again has the one that it had. With
    discovery by dns each replica has an address of its own (127.0.1.1, ...) and all have one port.
    """

    def __init__(self, site: CellSite) -> None:
        self._site = site
        self._family = site.family
        self._logs = site.folder / "logs"
        self._ports = HeldPorts()
        self.processes: dict[str, Process] = {}
        self._addresses = self._hold()

    def _hold(self) -> list[str]:
        count = self._site.experiment.replicas.count + new_replicas(self._site.plan.events)
        if self._site.plan.arm.discovery == "dns":
            return self._ports.hold_same([f"127.0.{1 + n // 250}.{1 + n % 250}" for n in range(count)])
        return [self._ports.hold("127.0.0.1") for _ in range(count)]

    @property
    def names(self) -> list[str]:
        """The replicas that have been started so far, whether they still run or not."""
        return list(self.processes)

    def address(self, name: str) -> str:
        """Its "host:port"."""
        return self._addresses[_number(name)]

    def start(self, name: str) -> None:
        """Start the process of a replica that is not running; `ready` tells when it serves."""
        (self._logs / f"{name}.ready.json").unlink(missing_ok=True)
        log = self._logs / f"{name}.log"
        self.processes[name] = self._family.spawn_module(name, "services.replica", self._args(name), log)

    def start_new(self) -> str:
        """Start one replica more; its name."""
        name = f"replica-{len(self.processes)}"
        self.start(name)
        return name

    def ready(self, name: str) -> dict[str, str] | None:
        """What a serving replica says of itself (address, control_address, ...); None while it does not."""
        try:
            text = (self._logs / f"{name}.ready.json").read_text()
        except FileNotFoundError:
            return None
        return dict(json.loads(text))

    def running(self, name: str) -> bool:
        """Whether its process is there, paused or not."""
        self._family.hear()
        return self.processes[name].status is None

    def end(self, name: str, number: signal.Signals) -> None:
        """End it on purpose, with SIGTERM (gracefully) or SIGKILL."""
        self.processes[name].may_end = True
        if number is not signal.SIGKILL:
            self.signal(name, signal.SIGCONT)  # one that is paused would never hear
        self.signal(name, number)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send its process a signal, if it is there."""
        self._family.send_signal(self.processes[name], number)

    def close(self) -> None:
        """Give the addresses back."""
        self._ports.close()

    def _args(self, name: str) -> list[str]:
        experiment, plan, number = self._site.experiment, self._site.plan, _number(name)
        replicas, age_ms = experiment.replicas, replica_connection_age_ms(plan.arm)
        service = replicas.service_time_ms
        return [
            *("--name", name, "--listen", self.address(name)),
            *("--service-time", f"{service.distribution}:{service.mean!r}"),
            *(["--burn-cpu"] if service.burn_cpu else []),
            *_trait_args(replicas, name),
            *(["--server", plan.arm.server] if plan.arm.server != "asyncio" else []),
            *(["--grace-s", repr(grace_s)] if (grace_s := _grace_s(plan)) != LEAST_GRACE_S else []),
            *(["--max-connection-age-ms", str(age_ms)] if age_ms else []),
            # The same in every arm of a repeat, another for each repeat and replica.
            *("--seed", str((experiment.seed * 1000 + plan.repeat) * 1000 + number)),
            *("--ledger", str(self._site.folder / f"{name}.csv")),
            *("--ready", str(self._logs / f"{name}.ready.json")),
            *("--epoch-ns", str(self._site.epoch_ns)),
            *(_tls_args(self._site.tls) if self._site.tls else []),
        ]


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])


def _grace_s(plan: CellPlan) -> float:
    """How long calls in hand may take when a replica is stopped: what the events say, a second at least."""
    delays_s = [planned.event.delay_s or 0.0 for planned in plan.events if planned.event.do == "stop"]
    return max([LEAST_GRACE_S, *delays_s])


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
