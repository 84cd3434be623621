"""Reads from gRPC itself which policy is in force in each client's channels, and which subchannels they hold.

Source: channelz of gRPC C-core 1.85, which keeps a trace of events for every channel of the process. gRPC
Python offers channelz as a service only (grpcio-channelz). This module calls the functions below it.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from grpc._cython import cygrpc  # type: ignore[attr-defined]

POLICY_CREATED = re.compile(r'Created new LB policy "([^"]*)"')


@dataclass(frozen=True)
class ClientChannels:
    """One client's channels as gRPC reports them. `client`: its number; `channels`: how many it has.

    `policy`: C-core's name of the policy in force (lb.policies: `grpc_name`); "" before an address is
    resolved; names joined by "+" when channels differ. `subchannels`: numbers of the subchannels that the
    policy holds now. Each has one TCP connection at most. Clients that share connections have the same ones.
    `xds`: what a control plane has told this process, as gRPC's client status discovery service (CSDS) says,
    in base64; only of the process's first client. `targets`: what the channels connect to, as gRPC has it.
    """

    client: int
    channels: int
    policy: str
    subchannels: list[int]
    xds: str = ""
    targets: list[str] = field(default_factory=list)


def read_client_channels(clients: Sequence[int], connections: int) -> list[ClientChannels]:
    """Return the channels of each client. `clients`: their numbers, in the order in which they were created.

    `connections`: channels of each client. The process must have no other channels: raises RuntimeError
    otherwise.
    """
    channels = sorted(_all_channels(), key=_channel_id)
    # Besides those of the clients, gRPC opens a channel of its own to the control plane.
    channels = [channel for channel in channels if channel["data"]["target"].startswith("xds:")] or channels
    if len(channels) != len(clients) * connections:
        expected = f"{len(clients)} clients of {connections} channels each"
        raise RuntimeError(f"expected {expected}, but gRPC has {len(channels)} channels in all")
    found = [
        _summarize(client, channels[place * connections : (place + 1) * connections])
        for place, client in enumerate(clients)
    ]
    if found:
        found[0] = replace(found[0], xds=base64.b64encode(cygrpc.dump_xds_configs()).decode())
    return found


def _summarize(client: int, channels: list[dict[str, Any]]) -> ClientChannels:
    policies = sorted({_policy(channel) for channel in channels})
    subchannels = {int(ref["subchannelId"]) for channel in channels for ref in channel["subchannelRef"]}
    targets = sorted({str(channel["data"]["target"]) for channel in channels})
    return ClientChannels(client, len(channels), "+".join(policies), sorted(subchannels), targets=targets)


def _all_channels() -> Iterator[dict[str, Any]]:
    """Yield every channel of this process. channelz returns them in pages."""
    start, ended = 0, False
    while not ended:
        page = json.loads(cygrpc.channelz_get_top_channels(start))
        channels = page.get("channel", [])
        yield from channels
        ended = page.get("end", False) or not channels
        if channels:
            start = max(map(_channel_id, channels)) + 1


def _channel_id(channel: dict[str, Any]) -> int:
    return int(channel["ref"]["channelId"])


def _policy(channel: dict[str, Any]) -> str:
    """Return the policy that was created last, according to the channel's trace."""
    created = map(POLICY_CREATED.fullmatch, _events(channel))
    return next((match[1] for match in reversed(list(created)) if match), "")


def _events(channel: dict[str, Any]) -> Iterable[str]:
    # gRPC drops a trace that outgrows its memory limit.
    return [event["description"] for event in channel["data"].get("trace", {}).get("events", [])]
