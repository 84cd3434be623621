"""What gRPC says of a process's channels: the policy in force and what each client is connected to.

In a process of its own, since the channels of a whole process are read.
"""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from clients import SETTINGS
from lab_process import ROOT
from replica_process import StartReplica

from harness.errors import LabError
from harness.plan.cells import plan_cells
from harness.run.confirm import client_settings, confirm_clients
from harness.spec.arm import Arm, Subsetting
from harness.spec.experiment import load_experiment
from harness.testbed.base import LiveCell
from lb.policies import POLICIES, service_config
from lb.settings import ClientSettings
from load.order import CHANNELS_FILE

pytestmark = pytest.mark.calm  # on a busy machine connections may not be ready when they are read

SCRIPT = """
import asyncio, json, sys
from lb.client import Client, Rows
from lb.settings import ClientSettings
from load.channelz import read_client_channels

async def main():
    settings = ClientSettings(**json.loads(sys.argv[1]))
    clients = [Client(number, settings, Rows()) for number in range(4)]
    await asyncio.gather(*(client.connect() for client in clients))
    if sys.argv[2] == "call":
        await asyncio.gather(*(client.call("AddVideo", 0) for client in clients))
    channels = read_client_channels(range(4), len(settings.channel_targets))
    print(json.dumps([vars(found) for found in channels]))
    await asyncio.gather(*(client.close() for client in clients))

asyncio.run(main())
"""


def channels_of(settings: ClientSettings, call: bool = True) -> list[dict[str, Any]]:
    command = [sys.executable, "-c", SCRIPT, json.dumps(asdict(settings)), "call" if call else "none"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


@pytest.mark.parametrize("policy", [name for name, one in POLICIES.items() if not one.by_lab])
def test_the_policy_in_force_is_read_back(policy: str, start_replica: StartReplica) -> None:
    target = ",".join(start_replica().address for _ in range(3))
    config = service_config(policy)
    found = channels_of(replace(SETTINGS, target=target, service_config=config), call=False)
    assert [one["client"] for one in found] == [0, 1, 2, 3]
    assert {one["policy"] for one in found} == {POLICIES[policy].grpc_name}
    # pick_first tries a second address as well where the first takes more than 250 ms (RFC 8305).
    held = {"pick_first": {1, 2}, "round_robin": {3}, "weighted_round_robin": {3}, "ring_hash": {0}}
    assert {len(one["subchannels"]) for one in found} <= held[policy]


def test_the_default_policy_is_pick_first(start_replica: StartReplica) -> None:
    found = channels_of(replace(SETTINGS, target=start_replica().address, service_config=None))
    assert {one["policy"] for one in found} == {"pick_first"}


def test_shared_connections_have_the_same_subchannels(start_replica: StartReplica) -> None:
    settings = replace(SETTINGS, target=",".join(start_replica().address for _ in range(2)))
    own, shared = (channels_of(replace(settings, share_connections=share)) for share in (False, True))
    several = channels_of(replace(settings, connections=3))
    assert len({number for one in own for number in one["subchannels"]}) == 8
    assert len({number for one in shared for number in one["subchannels"]}) == 2
    assert [(one["channels"], len(one["subchannels"])) for one in several] == [(3, 6)] * 4


def test_subsets_are_confirmed_from_what_the_channels_connect_to(
    start_replica: StartReplica, tmp_path: Path
) -> None:
    replicas = {f"replica-{number}": start_replica().address for number in range(4)}
    live = LiveCell(tmp_path, replicas, {})
    arm = Arm(route="direct", policy="round_robin", subsetting=Subsetting(size=2))
    plan = replace(plan_cells(load_experiment("round_robin"))[0], arm=arm)
    settings = replace(client_settings(plan, live, 0), draw=plan.load.draw)
    found = channels_of(settings)
    assert {len(one["subchannels"]) for one in found} == {2}
    (tmp_path / CHANNELS_FILE).write_text(json.dumps(found))
    confirm_clients(plan, live)
    by_chance = arm.model_copy(update={"subsetting": Subsetting(size=2, by="random")})
    with pytest.raises(LabError, match=r"no client connects to the subset ipv4:.*, but one to ipv4:"):
        confirm_clients(replace(plan, arm=by_chance), live)


@pytest.mark.parametrize("policy", [name for name, one in POLICIES.items() if one.by_lab])
def test_clients_that_pick_have_a_channel_to_each_replica(
    policy: str, start_replica: StartReplica, tmp_path: Path
) -> None:
    replicas = {f"replica-{number}": start_replica().address for number in range(3)}
    live = LiveCell(tmp_path, replicas, {})
    arm = Arm(route="direct", policy=policy)
    plan = replace(plan_cells(load_experiment("round_robin"))[0], arm=arm)
    found = channels_of(client_settings(plan, live, 0))
    assert {(one["channels"], len(one["subchannels"])) for one in found} == {(3, 3)}
    (tmp_path / CHANNELS_FILE).write_text(json.dumps(found))
    confirm_clients(plan, live)
    with pytest.raises(LabError, match="clients have channels to all replicas, was planned; not so: ipv4:"):
        confirm_clients(plan, replace(live, replicas=replicas | {"replica-3": "127.0.0.1:1"}))
    one_missing = [one | {"channels": 2} for one in found]
    (tmp_path / CHANNELS_FILE).write_text(json.dumps(one_missing))
    with pytest.raises(LabError, match="client 0 has 2 channels, planned: 3"):
        confirm_clients(plan, live)


def test_other_channels_in_the_process_are_an_error() -> None:
    script = SCRIPT.replace("read_client_channels(range(4),", "read_client_channels(range(3),")
    settings = json.dumps(asdict(replace(SETTINGS, target="127.0.0.1:1")))
    command = [sys.executable, "-c", script, settings, "none"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert "expected 3 clients of 1 channels each, but gRPC has 4 channels in all" in done.stderr
