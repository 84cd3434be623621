"""What gRPC itself says of the load's channels: the policy in force and the subchannels of each client.

Source: channelz of C-core 1.85, which keeps a trace of events for every channel of the process. gRPC Python
offers it to its channelz service only (grpcio-channelz); what is asked here lies beneath that.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from grpc._cython import cygrpc  # type: ignore[attr-defined]

POLICY_CREATED = re.compile(r'Created new LB policy "([^"]*)"')


@dataclass(frozen=True)
class ClientChannels:
    """One client's channels, as gRPC has them.

    `policy`: C-core's name of the policy in force (lb.policies: `grpc_name`), "" while no address is
    resolved, names joined by "+" should channels differ; `subchannels`: numbers of those that the policy
    holds now, one TCP connection each at most; clients that share connections have the same numbers.
    """

    client: int
    channels: int
    policy: str
    subchannels: list[int]


def read_back(clients: Sequence[int], connections: int) -> list[ClientChannels]:
    """What is in force in each of `clients` (their numbers), made in that order with `connections` channels.

    To be called in a process that has no channels but theirs. Raises RuntimeError when it has.
    """
    channels = sorted(_channels(), key=_number)
    if len(channels) != len(clients) * connections:
        expected = f"{len(clients)} clients of {connections} channels each"
        raise RuntimeError(f"expected {expected}, but gRPC has {len(channels)} channels in all")
    return [
        _of_client(client, channels[place * connections : (place + 1) * connections])
        for place, client in enumerate(clients)
    ]


def _of_client(client: int, channels: list[dict[str, Any]]) -> ClientChannels:
    policies = sorted({_policy(channel) for channel in channels})
    subchannels = {int(ref["subchannelId"]) for channel in channels for ref in channel["subchannelRef"]}
    return ClientChannels(client, len(channels), "+".join(policies), sorted(subchannels))


def _channels() -> Iterator[dict[str, Any]]:
    """Every channel of this process, a page at a time."""
    start, ended = 0, False
    while not ended:
        page = json.loads(cygrpc.channelz_get_top_channels(start))
        channels = page.get("channel", [])
        yield from channels
        ended = page.get("end", False) or not channels
        if channels:
            start = max(map(_number, channels)) + 1


def _number(channel: dict[str, Any]) -> int:
    return int(channel["ref"]["channelId"])


def _policy(channel: dict[str, Any]) -> str:
    """The last policy that the channel's trace says was created."""
    created = map(POLICY_CREATED.fullmatch, _events(channel))
    return next((match[1] for match in reversed(list(created)) if match), "")


def _events(channel: dict[str, Any]) -> Iterable[str]:
    # gRPC drops a trace that outgrows its memory.
    return [event["description"] for event in channel["data"].get("trace", {}).get("events", [])]
