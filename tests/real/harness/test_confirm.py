"""A cell is not measured if its replicas or its proxy are not as planned."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from lab_process import experiment_file

from harness.errors import LabError
from harness.plan.cells import CellPlan, plan_cells
from harness.proxy.admin import EnvoyAdmin, confirm_envoy
from harness.proxy.render import EnvoyFiles
from harness.run.confirm import confirm_cell
from harness.spec.experiment import Experiment, load_experiment
from harness.testbed.base import LiveCell
from harness.testbed.local.testbed import LocalTestbed
from services import lab_control_pb2 as lab
from services.lab_control_pb2_grpc import LabControlStub

NOT_PLANNED = r"replica-{} at \S+ is not the planned replica: {} planned .+, live "
CALLS_ITSELF = r"replica-{} at \S+ calls itself {}, serving: {}"


@dataclass
class Confirmed:
    """A running cell behind a sticky Envoy, which has been confirmed once."""

    experiment: Experiment
    plan: CellPlan
    live: LiveCell

    @property
    def envoy(self) -> EnvoyAdmin:
        assert self.live.envoy is not None
        return self.live.envoy

    @property
    def files(self) -> EnvoyFiles:
        return EnvoyFiles(self.live.folder / "envoy", self.live.folder / "access.log")

    def confirm(self, experiment: Experiment | None = None) -> None:
        confirm_cell(experiment or self.experiment, self.plan, self.live)

    def control(self, number: int) -> Any:
        channel = grpc.insecure_channel(self.live.replicas[f"replica-{number}"])
        return LabControlStub(channel)


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Confirmed]:
    arms = {"arm": {"route": "envoy", "policy": "sticky"}}
    experiment = load_experiment(str(experiment_file(tmp_path, arms=arms)))
    plan = plan_cells(experiment)[0]
    with LocalTestbed(tmp_path / "logs", load=False) as testbed:
        live = testbed.start_cell(experiment, plan, tmp_path, time.monotonic_ns())
        confirmed = Confirmed(experiment, plan, live)
        confirmed.confirm()
        yield confirmed


def test_different_endpoints_or_workers_are_refused(cell: Confirmed) -> None:
    config, replicas = cell.files.config, cell.live.replicas
    with pytest.raises(LabError, match=r"worker threads: planned 2, live 1"):
        confirm_envoy(cell.envoy, config, replicas, cell.plan.arm.model_copy(update={"proxy_workers": 2}))

    one_more = {**replicas, "replica-9": "127.0.0.1:9"}
    one_less = dict(list(replicas.items())[1:])
    another = {**replicas, "replica-0": "127.0.0.1:9"}
    for addresses in (one_more, one_less, another):
        with pytest.raises(LabError, match=r"not as planned: endpoints: planned"):
            confirm_envoy(cell.envoy, config, addresses, cell.plan.arm)
    cell.confirm()


SERVICE = {"distribution": "constant", "mean": 1}


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"slots": 3}, "slots"),
        ({"service_time_ms": {**SERVICE, "distribution": "exponential"}}, "service_time_ms.distribution"),
        ({"service_time_ms": {**SERVICE, "mean": 2}}, "service_time_ms.mean"),
        ({"service_time_ms": {**SERVICE, "burn_cpu": True}}, "service_time_ms.burn_cpu"),
        ({"slow_factor": 2.0}, "slow_factor"),
        ({"slow_share": 0.5}, "slow_share"),
        ({"fail_share": 0.5}, "fail_share"),
        ({"fail_code": "INTERNAL"}, "fail_code"),
        ({"outage": {"every_s": 9, "for_ms": 1}}, "outage"),
        ({"cache": {"sessions": 9, "hit_factor": 0.5}}, "cache"),
        ({"orca": 0.5}, "orca"),
        ({"orca": "measured"}, "orca"),
        ({"different": {"replica-0": {"slots": 9}}}, "slots"),
    ],
    ids=str,
)
def test_a_replica_with_different_settings_is_refused(
    changed: dict[str, Any], field: str, cell: Confirmed
) -> None:
    planned = load_experiment(str(experiment_file(cell.live.folder, replicas=changed)))
    with pytest.raises(LabError, match=NOT_PLANNED.format(0, field)):
        cell.confirm(planned)


def test_a_replica_that_was_changed_after_its_start_is_refused(cell: Confirmed) -> None:
    for change, undo in (
        (lab.Behaviour(slow_factor=2.0), lab.Behaviour(slow_factor=1.0)),
        (lab.Behaviour(fail_share=0.5), lab.Behaviour(fail_share=0.0)),
    ):
        cell.control(1).SetBehaviour(change)
        with pytest.raises(LabError, match=NOT_PLANNED.format(1, r"\w+")):
            cell.confirm()
        cell.control(1).SetBehaviour(undo)
    cell.confirm()
    cell.control(2).SetServing(lab.SetServingRequest(serving=False))
    with pytest.raises(LabError, match=CALLS_ITSELF.format(2, "replica-2", False)):
        cell.confirm()


def test_replicas_with_exchanged_names_are_refused(cell: Confirmed) -> None:
    first, second, third = cell.live.controls.values()
    cell.live.controls = {"replica-0": second, "replica-1": first, "replica-2": third}
    with pytest.raises(LabError, match=CALLS_ITSELF.format(0, "replica-1", True)):
        cell.confirm()


def test_the_error_about_a_killed_replica_names_its_log(cell: Confirmed) -> None:
    os.kill(cell.live.pids["replica-1"], signal.SIGKILL)
    with pytest.raises(LabError, match=r"replica-1 at .* does not answer: UNAVAILABLE; see .*replica-1\.log"):
        cell.confirm()


def test_a_killed_or_missing_envoy_is_refused(cell: Confirmed) -> None:
    os.kill(cell.live.pids["envoy"], signal.SIGKILL)
    with pytest.raises(LabError, match=r"did not answer GET /server_info: .*; see .*/logs/envoy\.log"):
        cell.confirm()
    with pytest.raises(LabError, match="arm arm was planned through Envoy, but none runs"):
        confirm_cell(cell.experiment, cell.plan, replace(cell.live, admins={}))


def test_an_endpoint_that_is_unhealthy_in_envoy_is_refused(cell: Confirmed) -> None:
    cell.control(0).SetServing(lab.SetServingRequest(serving=False))
    deadline_s = time.monotonic() + 10
    while all(cell.envoy.endpoint_health().values()):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    with pytest.raises(LabError, match=f"unhealthy: {cell.live.replicas['replica-0']}"):
        confirm_envoy(cell.envoy, cell.files.config, cell.live.replicas, cell.plan.arm)
