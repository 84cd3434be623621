"""Before measuring: are the live parts what was planned?"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import grpc

from harness.errors import LabError, UserError
from harness.plan.cells import CellPlan, replica_connection_age_ms
from harness.policies.registry import traits_of
from harness.proxy.admin import confirm_envoy
from harness.proxy.render import EnvoyFiles
from harness.spec.experiment import Experiment
from harness.testbed.base import LiveCell
from load.order import CHANNELS_FILE
from services import video_service_pb2 as pb
from services.video_service_pb2_grpc import LabControlStub

TIMEOUT_S = 5.0


def confirm_cell(experiment: Experiment, plan: CellPlan, live: LiveCell) -> None:
    """Ask every replica who it is and how it serves, and Envoy what is in force.

    Raises LabError naming the first difference from the plan; UserError where it is the user's replica.
    """
    for name, address in live.controls.items():
        if told := _difference(experiment, plan, name, address):
            if live.ours:
                raise LabError(f"{name} at {address} {told}; see {live.folder / 'logs' / f'{name}.log'}")
            raise UserError(f"--replica {address}: {name} {told}; start it as the experiment has it")
    if not live.ours:
        _confirm_different_ones(experiment, live)
    elif live.envoy is not None:
        files = EnvoyFiles(live.folder / "envoy", live.folder / "access.jsonl")
        confirm_envoy(live.envoy, files.config, live.replicas, plan.arm)
    elif plan.arm.route != "direct":
        raise LabError(f"arm {plan.arm_name} was planned through Envoy, but none runs")


def _difference(experiment: Experiment, plan: CellPlan, name: str, address: str) -> str | None:
    """In what the replica there is not the planned one, the name left out; None: in nothing."""
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = LabControlStub(channel)  # type: ignore[no-untyped-call]
        try:
            identity = stub.GetIdentity(pb.GetIdentityRequest(), timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            return f"does not answer: {error.code().name}"
    age_ms = replica_connection_age_ms(plan.arm) or 0
    if identity.max_connection_age_ms != age_ms:
        return f"ends connections after {identity.max_connection_age_ms} ms, planned: {age_ms} ms (0: never)"
    if identity.server != plan.arm.server:
        return f"serves by {identity.server}, planned: {plan.arm.server}"
    if (identity.name, identity.serving) != (name, True):
        return f"calls itself {identity.name}, serving: {identity.serving}"
    for field, value in planned_behaviour(experiment, name).items():
        live = getattr(identity.behaviour, field)
        if live != value:
            return f"is not the planned replica: {field} planned {value}, live {live}"
    return None


def _confirm_different_ones(experiment: Experiment, live: LiveCell) -> None:
    """Replicas that are to be unlike the others are known by their names."""
    missing = [name for name in experiment.replicas.different if name not in live.replicas]
    if missing:
        raise UserError(
            f"{missing[0]} is unlike the others in {experiment.name}, and no replica calls itself so; "
            f"there are: {', '.join(live.replicas)}"
        )


def planned_behaviour(experiment: Experiment, name: str) -> dict[str, object]:
    """Field of LabControl's Behaviour -> what one replica was planned to have in force."""
    replicas = experiment.replicas
    service, traits = replicas.service_time_ms, replicas.traits(name)
    return {
        **{
            field: traits[field]
            for field in ("slots", "slow_factor", "slow_share", "fail_share", "fail_code")
        },
        "distribution": service.distribution,
        "mean_ms": service.mean,
        "burn_cpu": service.burn_cpu,
        "fail_after_headers": False,
        "fail_after_work": False,
        "outage_every_s": replicas.outage.every_s if replicas.outage else 0.0,
        "outage_for_ms": replicas.outage.for_ms if replicas.outage else 0.0,
        "cache_sessions": replicas.cache.sessions if replicas.cache else 0,
        "cache_hit_factor": replicas.cache.hit_factor if replicas.cache else 1.0,
        "orca": "" if traits["orca"] is None else str(traits["orca"]),
    }


def confirm_clients(plan: CellPlan, folder: Path) -> None:
    """Compare what the load processes read back from gRPC (after connecting, before the first call).

    Connections are a process's own, and so are the numbers of its subchannels.
    Raises LabError naming the first client whose policy or connections are not the planned ones.
    """
    arm, log = plan.arm, folder / "logs" / "load.log"
    policy = traits_of(arm.route, arm.policy, arm.options).channel_policy
    seen_by: dict[str, set[int]] = defaultdict(set)
    for client in _read(folder / CHANNELS_FILE):
        seen = seen_by[client.get("worker", "")]
        name, subchannels = f"client {client['client']}", set(client["subchannels"])
        if client["policy"] not in (policy, ""):  # "": not connected yet, which its calls will show
            raise LabError(f"{name} balances by {client['policy']}, planned: {policy}; see {log}")
        if arm.connections != "shared" and seen & subchannels:
            raise LabError(f"{name} shares connections with another client, planned: its own; see {log}")
        if arm.connections == "shared" and seen and subchannels and not seen & subchannels:
            raise LabError(f"{name} has connections of its own, planned: shared ones; see {log}")
        seen |= subchannels


def _read(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text()))
