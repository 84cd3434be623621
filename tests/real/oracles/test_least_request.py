"""least_request: how often it picks a replica that stays busy."""

from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest
import uvloop
from behind_envoy import StartBalanced, calls, connection, sessions

from services import video_service_pb2 as pb
from services.video_service_pb2_grpc import VideoServiceStub

STREAMS_PER_REPLICA = 5
CALLS = 5_000


async def open_streams(stub: VideoServiceStub, stack: AsyncExitStack, count: int) -> dict[str, list[Any]]:
    """Open `count` streams until the stack is left; return replica -> its streams."""
    streams: dict[str, list[Any]] = {}
    for _ in range(count):
        stream = stub.GetVideo()
        stack.callback(stream.cancel)
        await stream.write(pb.GetVideoRequest(id="sample-1"))
        await stream.read()
        replica = dict(await stream.initial_metadata())["x-lab-replica"]
        streams.setdefault(replica, []).append(stream)
    return streams


def shares(target: str, replicas: int, count: int = CALLS) -> tuple[float, list[float]]:
    """Return the share of the calls that the busy replica gets, and the shares of the others."""

    async def make_calls() -> tuple[str, list[str]]:
        async with connection(target) as stub, AsyncExitStack() as stack:
            streams = await open_streams(stub, stack, STREAMS_PER_REPLICA * replicas)
            busy, *others = sorted(streams)
            for stream in (stream for other in others for stream in streams[other]):
                await stream.done_writing()
                assert (await stream.code()).name == "OK"
            # One call at a time, so that the idle replicas are equally idle, however fast each of them is.
            return busy, [answer.replica for answer in await calls(stub, sessions(count))]

    busy, answers = uvloop.run(make_calls())
    counts = Counter(answers)
    return counts.pop(busy, 0) / count, [hits / count for hits in counts.values()]


# Envoy draws two replicas with replacement. It picks the busy one only if it draws it twice: never, if it
# drew without replacement. 2.5 percentage points are four standard deviations of 5,000 draws with p = 1/4.
@pytest.mark.parametrize(("replicas", "busy", "idle"), [(3, 1 / 9, 4 / 9), (2, 1 / 4, 3 / 4)])
def test_two_choices_pick_the_busy_replica_only_if_both_draws_hit_it(
    replicas: int, busy: float, idle: float, balanced: StartBalanced
) -> None:
    live = balanced("least_request", replica_options=[()] * replicas)
    on_busy, on_idle = shares(live.address, replicas)
    assert on_busy == pytest.approx(busy, abs=0.025)
    assert on_idle == pytest.approx([idle] * (replicas - 1), abs=0.028)


def test_four_choices_pick_the_busy_replica_only_if_all_draws_hit_it(balanced: StartBalanced) -> None:
    live = balanced("least_request", {"choices": 4})
    on_busy, _ = shares(live.address, 3, 4000)
    assert on_busy == pytest.approx(1 / 81, abs=0.007)  # four standard deviations


def test_a_full_scan_never_picks_the_busy_replica(balanced: StartBalanced) -> None:
    live = balanced("least_request", {"full_scan": True})
    on_busy, on_idle = shares(live.address, 3, 1000)
    assert on_busy == 0  # exact: an idle replica always has fewer requests
    assert on_idle == pytest.approx([0.5, 0.5], abs=0.07)  # four standard deviations
