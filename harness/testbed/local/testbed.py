"""The local testbed: replicas, Envoy and the load are processes on this machine, on loopback addresses."""

import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from harness.errors import LabError
from harness.leftovers.scratch import scratch_folder
from harness.plan.cells import CellPlan
from harness.proxy.tls import TlsFiles, make_certificate
from harness.spec.arm import CertificateKey
from harness.spec.experiment import Experiment
from harness.testbed.base import PROXY_NAME, LiveCell
from harness.testbed.cell_context import CellContext
from harness.testbed.local.fleet import LocalFleet
from harness.testbed.processes import ForkServers, LoadOnThisMachine

READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 1.0


class LocalTestbed(LoadOnThisMachine):
    """Owns all processes of a run. Enter it in the main thread.

    `logs`: the folder for the fork servers' log. `load`: whether a load process will be started. `tls`: with
    it, replicas and Envoy speak TLS in addition to clear text. Without it they do so in arms with `tls`
    alone, with a certificate that is made for the first of each kind.
    `proxy_port`: the port of the proxy; 0: a free one. `kept`: fork servers that are kept for the next run;
    they are closed only if this one fails. None: it has its own.
    """

    def __init__(
        self,
        logs: Path,
        load: bool = True,
        tls: TlsFiles | None = None,
        proxy_port: int = 0,
        kept: ForkServers | None = None,
    ) -> None:
        self._logs = logs
        self._tls = tls
        self._own_tls: dict[CertificateKey, TlsFiles] = {}
        self._keys = ExitStack()  # folders with private keys
        self._proxy_port = proxy_port
        self._with_load = load
        self._kept = kept
        self._fleet: LocalFleet | None = None

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / "forkserver.log"
        servers = self._kept or ForkServers()
        with ExitStack() as closing:  # if a step fails, the earlier ones are undone
            closing.callback(servers.close)
            self._servers = servers.family("services.replica", {}, log)
            if self._with_load:
                # The load has its own fork server: the imports run on two cores, and Locust's take longest.
                self._prepare_load(log, servers)
            self._closing = closing.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        if self._kept is None or raised[0] is not None:
            self._closing.close()
        if self._fleet is not None:
            self._fleet.close()
        self._keys.close()

    def start_cell(self, experiment: Experiment, plan: CellPlan, folder: Path, epoch_ns: int) -> LiveCell:
        (folder / "logs").mkdir(exist_ok=True)
        self.stop_cell()
        context = CellContext(experiment, plan, folder, epoch_ns, self._tls_of(plan.arm.tls))
        self._fleet = LocalFleet(context, self._servers, self._proxy_port)
        return self._fleet.start_all(self.check, READY_TIMEOUT_S)

    def _tls_of(self, key: CertificateKey | None) -> TlsFiles | None:
        if self._tls is not None or key is None:
            return self._tls
        if key not in self._own_tls:
            folder = self._keys.enter_context(scratch_folder("run"))
            self._own_tls[key] = make_certificate(folder / "tls", [PROXY_NAME], key)
        return self._own_tls[key]

    @property
    def fleet(self) -> LocalFleet:
        assert self._fleet is not None
        return self._fleet

    def load_status(self) -> int | None:
        status = super().load_status()
        self.check()
        return status

    def stop_cell(self) -> None:
        if self._fleet is not None:
            # SIGINT tells replicas that nobody calls any more, so they need not wait until clients have left.
            self._servers.end([*self._fleet.processes.values()], STOP_TIMEOUT_S, signal.SIGINT)
            self._fleet.close()
        self._fleet = None

    def check(self) -> None:
        """Raise LabError, with the log's path, if a replica or the proxy ended unexpectedly."""
        self._servers.read_messages()
        for process in self.fleet.processes.values():
            if process.status is not None and not process.end_expected:
                raise LabError(process.describe_end())
