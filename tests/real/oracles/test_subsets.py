"""Clients with subsets call exactly the replicas of their subset."""

import asyncio
from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from clients import SETTINGS, calls, connect, run_clients
from replica_process import StartReplica

from lb.client import Client
from lb.settings import SubsetBy
from lb.subsets import subset_of

REPLICAS, CLIENTS, SIZE = 6, 6, 2


async def twenty_each(clients: list[Client]) -> None:
    await connect(clients)
    await asyncio.gather(*(calls(client, 20) for client in clients))


@pytest.mark.parametrize("by", ["deterministic", "random"])
def test_each_client_calls_all_of_its_subset_and_nobody_else(
    by: SubsetBy, start_replica: StartReplica
) -> None:
    servers = {f"replica-{number}": start_replica() for number in range(REPLICAS)}
    target = ",".join(server.address for server in servers.values())
    settings = replace(SETTINGS, target=target, subset_size=SIZE, subset_by=by, draw="1.1")
    rows, _ = run_clients(settings, CLIENTS, twenty_each)
    assert {row["code"] for row in rows} == {"OK"}
    found: dict[int, Counter[str]] = defaultdict(Counter)
    for row in rows:
        found[row["client"]][row["replica"]] += 1
    for client, own in found.items():
        addresses = subset_of(target.split(","), client, SIZE, by, "1.1")
        # The second connection may be ready some calls later than the first, so turns need not be exact.
        assert set(own) == {name for name, server in servers.items() if server.address in addresses}
    if by == "deterministic":  # two whole rounds of three clients: every replica has two clients
        clients = Counter(name for own in found.values() for name in own)
        assert clients == dict.fromkeys(servers, 2)
