"""The testbed of what the user already has: nothing is started but the load."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import LabError, UserError
from harness.events.fleet import Fleet
from harness.plan.cells import CellPlan
from harness.plan.run_options import ExternalOptions
from harness.spec.experiment import Experiment
from harness.testbed.base import LiveCell
from harness.testbed.external.replicas import ExternalReplicas, Target, confirm_among, names_behind
from harness.testbed.load_process import LoadProcess
from harness.testbed.processes import Process
from lb.ca_certificates import read_ca_certificates

NOT_OURS = "the proxy is not the lab's"
NOT_NAMED = "no --replica was named"


class ExternalTestbed:
    """Clients here, all else there. To be entered in the main thread; `logs`: the fork server's folder."""

    def __init__(self, logs: Path, external: ExternalOptions) -> None:
        self._logs = logs
        self._addresses = external.replicas
        authority = None if external.ca is None else read_ca_certificates(external.ca)
        self._target = Target(external.target, external.tls, authority) if external.target else None
        self._load: LoadProcess | None = None
        self._strangers: ExternalReplicas | None = None
        self._replicas: dict[str, str] = {}
        self._live: LiveCell | None = None
        self._calls_before: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._load = LoadProcess(self._logs / "forkserver.log")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._load is not None:
            self._load.close()
        if self._strangers is not None:
            self._strangers.close()

    def start_cell(
        self,
        experiment: Experiment,
        plan: CellPlan,
        folder: Path,
        epoch_ns: int,  # noqa: ARG002 - replicas that run already have a clock of their own
    ) -> LiveCell:
        """See Testbed. Starts nothing: finds out who is there.

        Raises UserError when the replicas are not reached, or are not as many as planned.
        """
        (folder / "logs").mkdir(exist_ok=True)
        if not self._replicas:
            self._replicas = self._find(experiment)
        replicas = dict(self._replicas)
        controls = {} if self._strangers is None else dict(replicas)
        live = LiveCell(folder, replicas, controls, ours=False)
        # The replicas go on after a cell and refuse a video that they hold.
        live.key_prefix = f"load-{time.time_ns()}"
        if self._strangers is None:
            live.missing_ledgers["replica"] = NOT_NAMED
        if plan.arm.route != "direct":
            assert self._target is not None
            live.envoy_address = self._target.address
            live.tls, live.authority = self._target.tls, self._target.authority
            live.missing_ledgers["envoy"] = NOT_OURS
        if self._strangers is not None:
            self._calls_before = self._strangers.calls_done()
        self._live = live
        return live

    def _find(self, experiment: Experiment) -> dict[str, str]:
        """Replica -> "host:port", "" where only its name is known."""
        if self._addresses:
            self._strangers = ExternalReplicas(self._addresses)
            if self._target is not None:
                confirm_among(self._target, list(self._strangers.addresses))
            return self._strangers.addresses
        assert self._target is not None
        return dict.fromkeys(names_behind(self._target, experiment.replicas.count), "")

    @property
    def fleet(self) -> Fleet:
        """See Testbed. Raises LabError: there is no hand on these parts."""
        raise LabError("--testbed external: events cannot be played on parts that are not the lab's")

    def start_load(self, order: Path, folder: Path) -> Process:
        """See Testbed."""
        assert self._load is not None
        return self._load.start(order, folder)

    def load_status(self) -> int | None:
        """See Testbed."""
        assert self._load is not None
        return self._load.status()

    def stop_load(self) -> None:
        """See Testbed."""
        assert self._load is not None
        self._load.stop()

    def stop_cell(self) -> None:
        """See Testbed. Stops nothing: fetches the replicas' ledgers, where they can be had."""
        live, self._live = self._live, None
        if live is None or self._strangers is None:
            return
        try:
            self._strangers.write_ledgers(live.folder, self._calls_before)
        except UserError as error:
            live.missing_ledgers["replica"] = str(error)
            for name in live.replicas:
                (live.folder / f"{name}.csv").unlink(missing_ok=True)
