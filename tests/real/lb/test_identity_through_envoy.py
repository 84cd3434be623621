"""How clients identify themselves to a balancer without cookies: an echoed header, a source address."""

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clients import SETTINGS, calls, run_clients
from lab_process import experiment_file

from harness.plan.cells import plan_cells
from harness.spec.experiment import load_experiment
from harness.testbed.local.testbed import LocalTestbed
from lb.client import Client
from lb.settings import ClientSettings

CLIENTS = 24


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Any]:
    """Return a function that starts three replicas behind an Envoy and returns client settings for it."""
    with LocalTestbed(tmp_path / "logs", load=False) as testbed:

        def start(policy: str, **options: object) -> ClientSettings:
            arm = {"route": "envoy", "policy": policy, "options": options}
            experiment = load_experiment(str(experiment_file(tmp_path, arms={"arm": arm})))
            live = testbed.start_cell(experiment, plan_cells(experiment)[0], tmp_path, time.monotonic_ns())
            return replace(SETTINGS, target=live.target, service_config=None)

        yield start


def homes(settings: ClientSettings) -> dict[int, set[str]]:
    """Return, for each client, the replicas that answered its four calls."""

    async def script(clients: list[Client]) -> None:
        for client in clients:
            await calls(client, 4)

    rows, _ = run_clients(settings, CLIENTS, script)
    assert {row["code"] for row in rows} == {"OK"}
    found = defaultdict(set)
    for row in rows:
        found[row["client"]].add(row["replica"])
    return found


def test_a_sticky_header_must_be_echoed(behind: Any) -> None:
    settings = behind("sticky", by="header")
    echoed = homes(replace(settings, echo_header="x-lab-sticky"))
    assert {len(replicas) for replicas in echoed.values()} == {1}
    assert len(set.union(*echoed.values())) == 3
    silent = homes(replace(settings, key_prefix="silent"))
    assert {len(replicas) for replicas in silent.values()} == {3}


def test_clients_of_one_address_are_told_apart_by_x_forwarded_for(behind: Any) -> None:
    settings = behind("ring_hash", key="source_address")
    own = homes(replace(settings, own_source_address=True))
    assert {len(replicas) for replicas in own.values()} == {1}
    assert len(set.union(*own.values())) == 3
    assert homes(replace(settings, own_source_address=True, key_prefix="again")) == own
    one = homes(replace(settings, key_prefix="one"))
    assert len(set.union(*one.values())) == 1
