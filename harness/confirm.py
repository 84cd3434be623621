"""Before measuring: are the live parts what was planned?"""

from pathlib import Path

import grpc

from harness.cells import CellPlan
from harness.errors import LabError
from harness.proxy import EnvoyFiles
from harness.proxy_admin import confirm_envoy
from harness.spec import Experiment
from harness.testbed.base import LiveCell
from services import video_service_pb2 as pb
from services.video_service_pb2_grpc import LabControlStub

TIMEOUT_S = 5.0


def confirm_cell(experiment: Experiment, plan: CellPlan, live: LiveCell, proxy_workers: int) -> None:
    """Ask every replica who it is and how it serves, and Envoy what is in force.

    Raises LabError naming the first difference from the plan.
    """
    for name, address in live.replicas.items():
        _confirm_replica(experiment, name, address, live.folder / "logs" / f"{name}.log")
    if live.envoy is not None:
        files = EnvoyFiles(live.folder / "envoy", live.folder / "access.jsonl")
        confirm_envoy(live.envoy, files.config, live.replicas, proxy_workers)
    elif plan.arm.route == "envoy":
        raise LabError(f"arm {plan.arm_name} was planned through Envoy, but none runs")


def _confirm_replica(experiment: Experiment, name: str, address: str, log: Path) -> None:
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = LabControlStub(channel)  # type: ignore[no-untyped-call]
        try:
            identity = stub.GetIdentity(pb.GetIdentityRequest(), timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise LabError(f"{name} at {address} does not answer: {error.code().name}; see {log}") from error
    service = experiment.replicas.service_time_ms
    planned = (
        *(name, True, experiment.replicas.slots, service.distribution, service.mean, service.burn_cpu),
        *(1.0, 0.0),
    )
    behaviour = identity.behaviour
    live = (
        *(identity.name, identity.serving, behaviour.slots, behaviour.distribution, behaviour.mean_ms),
        *(behaviour.burn_cpu, behaviour.slow_factor, behaviour.fail_share),
    )
    if live != planned:
        raise LabError(f"{name} at {address} is not the planned replica: planned {planned}, live {live}")
