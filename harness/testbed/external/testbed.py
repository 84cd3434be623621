"""The external testbed: replicas and load balancer already run, and the lab starts only the load."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Self

from harness.errors import LabError, UserError
from harness.events.context import Fleet
from harness.fields import PROXY
from harness.plan.cells import CellPlan
from harness.plan.run_options import ExternalOptions
from harness.spec.experiment import Experiment
from harness.spec.own_service import UPSTREAM_LOG
from harness.testbed.base import LiveCell, ServiceCalls
from harness.testbed.external.replicas import (
    Calls,
    ExternalReplicas,
    Target,
    confirm_named,
    replica_names_behind,
)
from harness.testbed.external.service import name_told_by_service, service_calls
from harness.testbed.processes import LoadOnThisMachine
from lb.ca_certificates import read_ca_certificates
from lb.trace_id import new_prefix


class ExternalTestbed(LoadOnThisMachine):
    """Starts the load on this machine against an external target. Enter it in the main thread.

    `logs`: the folder for the fork server's log.
    """

    def __init__(self, logs: Path, external: ExternalOptions) -> None:
        self._logs = logs
        self._external = external
        authority = None if external.ca is None else read_ca_certificates(external.ca)
        self._target = Target(external.target, external.tls, authority) if external.target else None
        self._named_replicas: ExternalReplicas | None = None
        self._addresses_by_name: dict[str, str] = {}
        self._found = False
        self._service: ServiceCalls | None = None
        self._live: LiveCell | None = None
        self._calls_before: dict[str, Calls] = {}

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._prepare_load(self._logs / "forkserver.log")
        return self

    def __exit__(self, *_: object) -> None:
        self._load_family.close()
        if self._named_replicas is not None:
            self._named_replicas.close()

    def start_cell(self, experiment: Experiment, plan: CellPlan, folder: Path, epoch_ns: int) -> LiveCell:  # noqa: ARG002 - replicas have their own epoch
        """Find the names of the replicas, which run already.

        Raises UserError when a replica does not answer, or when their number is not the planned one.
        """
        (folder / "logs").mkdir(exist_ok=True)
        if not self._found:
            self._addresses_by_name = self._find_replicas(experiment)
            self._found = True
        replicas = dict(self._addresses_by_name)
        controls = {} if self._named_replicas is None else dict(replicas)
        live = LiveCell(folder, replicas, controls, started_by_lab=False)
        # The replicas keep their videos after a cell, and refuse to add a video that they have.
        live.key_prefix = f"load-{time.time_ns()}"
        live.service = self._service
        if experiment.service is not None:
            live.missing_ledgers["replica"] = "the service is not the lab's"
        elif self._named_replicas is None:
            live.missing_ledgers["replica"] = "no --replica was named"
        if plan.arm.has_proxy:
            assert self._target is not None
            live.proxies[PROXY] = self._target.address
            live.tls, live.authority = self._target.tls, self._target.authority
            live.missing_ledgers["envoy"] = "the proxy is not the lab's"
            if plan.arm.route == "envoy":  # a balancer of connections logs no requests
                live.trace_prefix = new_prefix(time.time_ns())
        if self._named_replicas is not None:
            self._calls_before = self._named_replicas.so_far()
        self._live = live
        return live

    def _find_replicas(self, experiment: Experiment) -> dict[str, str]:
        """Return name -> "host:port" of the replicas; the address is "" if only the name is known."""
        if self._external.replicas:
            self._named_replicas = ExternalReplicas(self._external.replicas)
            if self._target is not None:
                confirm_named(self._target, list(self._named_replicas.addresses))
            return self._named_replicas.addresses
        assert self._target is not None
        count, service = experiment.replicas.count, experiment.service
        if service is None:
            return dict.fromkeys(replica_names_behind(self._target, count), "")
        clients = max(experiment.workload_of(arm).clients for arm in experiment.arms.values())
        self._service = calls = service_calls(service, self._target, clients)
        ask = partial(name_told_by_service, calls, service)
        if service.replica_from == UPSTREAM_LOG:
            ask(self._target, 0)
            return dict.fromkeys(experiment.replicas.names, "")  # until the log names them
        return dict.fromkeys(replica_names_behind(self._target, count, ask), "")

    @property
    def fleet(self) -> Fleet:
        """Raises LabError: the lab does not control external replicas."""
        raise LabError("--testbed external: events need replicas that the lab has started")

    def check(self) -> None:
        """Do nothing: the parts are the user's."""

    def stop_cell(self) -> None:
        """Fetch the ledgers of the named replicas, which go on."""
        live, self._live = self._live, None
        if live is None or self._named_replicas is None:
            return
        try:
            self._named_replicas.write_ledgers(live.folder, self._calls_before)
        except UserError as error:
            live.missing_ledgers["replica"] = str(error)
            for name in live.replicas:
                (live.folder / f"{name}.csv").unlink(missing_ok=True)
