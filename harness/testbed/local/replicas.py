"""The replicas of one cell as processes on this machine: start, end, pause, and start again."""

import signal

from harness.events.schedule import new_replicas
from harness.testbed.cell_context import CellContext
from harness.testbed.local.ports import HeldPorts
from harness.testbed.processes import Process, ProcessFamily
from harness.testbed.replica_args import replica_args


class LocalReplicas:
    """Every replica that a cell has at its start, and room for those that its events add.

    Addresses are given out for good: a replica that ends and starts again has the one that it had. With
    discovery by dns each replica has an address of its own (127.0.1.1, ...) and all have one port.
    """

    def __init__(self, context: CellContext, family: ProcessFamily) -> None:
        self._context = context
        self._family = family
        self._ports = HeldPorts()
        self.processes: dict[str, Process] = {}
        self._addresses = self._hold()

    def _hold(self) -> list[str]:
        count = self._context.experiment.replicas.count + new_replicas(self._context.plan.events)
        if self._context.plan.arm.discovery == "dns":
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
        """Start the process of a replica that is not running; CellContext.ready tells when it serves."""
        self._context.ready_file(name).unlink(missing_ok=True)
        log = self._context.log(name)
        self.processes[name] = self._family.spawn_module(
            name, "services.replica", replica_args(self._context, name, self.address(name)), log
        )

    def start_new(self) -> str:
        """Start one replica more; its name."""
        name = f"replica-{len(self.processes)}"
        self.start(name)
        return name

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


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])
