"""gRPC's own asyncio client on the lab's plan, with nothing recorded: the least that a call costs in Python.

`python -m bench.bare_aio TARGET LOAD.json SECONDS`. A call is made as lb/calls.py makes it, the shortest way
that the binding has. There is no Locust, no row, no interceptor and no status that is read. What the lab adds
is its cost above this.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import uvloop

from lb.open_loop import OpenLoop
from lb.plan import NS_PER_S, Load, PlannedCall, open_loop
from services import video_service_pb2 as pb
from services.video_service_pb2_grpc import VideoServiceStub

TIMEOUT_S = 10.0
SPARE_NS = NS_PER_S // 5  # until the first call, so that no channel is late


class BareClient:
    """One channel, and its calls."""

    def __init__(self, target: str, name: str) -> None:
        self.channel = grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
        self._method: Any = VideoServiceStub(self.channel).AddVideo  # type: ignore[no-untyped-call]
        self._ids = (f"{name}-{number}" for number in count())

    async def call(self, *_planned: object) -> None:
        """Make one unary call. Nobody looks at its answer."""
        video = pb.Video(
            id=next(self._ids), title="Load", author="lb-lab", url="https://example.com/v.mp4", duration=1
        )
        method = self._method
        deadline_unix_s, handle = time.time() + TIMEOUT_S, method._registered_call_handle
        call = method._channel.call(method._method, deadline_unix_s, None, None, handle)
        await call.unary_unary(video.SerializeToString(), (("x-lab-session", "0.0"),))

    async def call_until(self, end_ns: int) -> None:
        """Make one call after another."""
        while time.monotonic_ns() < end_ns:
            await self.call()


async def make_calls(target: str, load: Load, seconds: float, run: str) -> None:
    """Make the calls of the whole plan; without a rate, one at a time on each channel."""
    clients = [BareClient(target, f"bare-{run}-{number}") for number in range(load.clients)]
    start_ns = time.monotonic_ns() + SPARE_NS
    if load.rate_per_s is None:
        end_ns = start_ns + round(seconds * NS_PER_S)
        await asyncio.gather(*(client.call_until(end_ns) for client in clients))
    else:
        plans: list[Iterator[PlannedCall]] = [
            iter(list(open_loop(load, number, "measure", seconds, opens=False)))
            for number in range(load.clients)
        ]
        loops = (OpenLoop(plan, start_ns, client.call) for plan, client in zip(plans, clients, strict=True))
        await asyncio.gather(*(one.run() for one in loops))
    await asyncio.gather(*(client.channel.close() for client in clients))


def main() -> None:
    """Make the calls of the command line."""
    target, load_path, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    load = Load(**json.loads(load_path.read_text()))
    gc.freeze()
    gc.disable()  # a few seconds of calls: the cheapest that it can be
    uvloop.run(make_calls(target, load, seconds, load_path.parent.name))


if __name__ == "__main__":
    main()
