"""Replicas and the lab's control plane, and clients of lb/ that follow it (route xds)."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from clients import SETTINGS, run_clients
from grpc._cython import cygrpc
from replica_process import Server

from harness.events.context import Endpoint
from harness.proxy.xds import XdsControl, XdsFiles, confirm_xds
from harness.spec.arm import Arm
from lb.client import Client
from load.channelz import read_client_channels

Rows = list[dict[str, Any]]
DEADLINE_S = 10

_runs = itertools.count()


class Proxyless(AbstractContextManager["Proxyless"]):
    """Replicas, and a control plane that names them to the clients of `arm`."""

    def __init__(self, folder: Path, arm: Arm, servers: Mapping[str, Server]) -> None:
        self.arm, self.servers = arm, dict(servers)
        self.files = XdsFiles(folder / "xds")
        self.control = XdsControl(arm, self.files)
        self.publish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.control.close()

    @property
    def target(self) -> str:
        return f"xds://{self.control.address}/videos"

    def publish(self, **changes: Endpoint | None) -> None:
        """Name all replicas to the clients. `changes`: replica_N -> its endpoint; None: it is left out."""
        endpoints = {name: Endpoint(server.address) for name, server in self.servers.items()}
        for name, endpoint in changes.items():
            key = name.replace("_", "-")
            del endpoints[key]
            if endpoint is not None:
                endpoints[key] = endpoint
        self._named = sum(not endpoint.draining for endpoint in endpoints.values())
        self.control.publish(endpoints)

    async def accepted(self) -> None:
        """Wait until all clients have accepted the newest endpoints."""
        await _until(self.control.accepted)

    async def connected(self) -> None:
        """Wait until each client has a connection to every replica that is named to them."""
        await _until(lambda: all(_ready(channel) >= self._named for channel in _channels()))

    async def gone(self) -> None:
        """Wait until each client has given up the replicas that are not named to it any more.

        A client accepts new endpoints first, and puts them to use some milliseconds later.
        """
        await _until(lambda: all(len(one["subchannelRef"]) <= self._named for one in _channels()))

    def draining(self, name: str) -> Endpoint:
        return Endpoint(self.servers[name].address, draining=True)

    def run(
        self, clients: int, script: Callable[[list[Client]], Awaitable[None]], **settings: object
    ) -> Rows:
        """Run `script` with connected clients whose live configuration is confirmed; return their rows."""

        async def confirmed(started: list[Client]) -> None:
            await asyncio.gather(*(client.connect() for client in started))
            channels = read_client_channels(range(clients), 1)
            confirm_xds(self.arm, self.files, [channels[0].xds])
            if self.arm.policy != "ring_hash":  # which connects when a call needs it
                await self.connected()
            await script(started)

        chosen = replace(
            SETTINGS,
            target=self.target,
            service_config=None,
            key_prefix=f"proxyless-{next(_runs)}",  # a replica refuses ids that it holds
            **settings,  # type: ignore[arg-type]
        )
        rows, _ = run_clients(chosen, clients, confirmed)
        return rows


async def _until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds. Raises TimeoutError after DEADLINE_S."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)


def _channels() -> list[dict[str, Any]]:
    page = json.loads(cygrpc.channelz_get_top_channels(0))
    return [one for one in page["channel"] if one["data"]["target"].startswith("xds:")]


def _ready(channel: dict[str, Any]) -> int:
    """Return how many connections a channel has."""
    found = 0
    for ref in channel["subchannelRef"]:
        subchannel = json.loads(cygrpc.channelz_get_subchannel(int(ref["subchannelId"])))["subchannel"]
        found += subchannel["data"]["state"]["state"] == "READY"
    return found
