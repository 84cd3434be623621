"""Load reports (ORCA) decide the shares of the replicas, behind Envoy and in the client."""

import asyncio
import time
from collections import Counter

import grpc
import pytest
import uvloop
from behind_envoy import OWN_CONNECTION, Balanced, StartBalanced, calls, connection, sessions
from replica_process import document

from lb.policies import service_config
from services.video_service_pb2_grpc import VideoServiceStub

UTILISATIONS = (0.2, 0.4, 0.8, 0.8)
# Weight = rate / utilisation. All report the same rate, so the weights are 1/.2 : 1/.4 : 1/.8 : 1/.8.
SHARES = {"replica-0": 1 / 2, "replica-1": 1 / 4, "replica-2": 1 / 8, "replica-3": 1 / 8}
OPTIONS = {"blackout_ms": 100, "weight_update_ms": 100}
REPORTING = [("--settings", document(orca=cpu)) for cpu in UTILISATIONS]
COUNT = 1600
TOLERANCE = 0.02  # relative; both interleave replicas by weight, so only the start of the rounds is random


async def shares_once_known(stub: VideoServiceStub) -> dict[str, float]:
    """Return the shares of COUNT calls, after all replicas have sent reports for longer than the blackout."""
    until_s = time.monotonic() + 1.0
    while time.monotonic() < until_s:
        await calls(stub, sessions(20))
        await asyncio.sleep(0.05)
    counts = Counter(answer.replica for answer in await calls(stub, sessions(COUNT)))
    return {replica: count / COUNT for replica, count in counts.items()}


def shares_behind_envoy(live: Balanced) -> dict[str, float]:
    async def make_calls() -> dict[str, float]:
        async with connection(live.address) as stub:
            return await shares_once_known(stub)

    return uvloop.run(make_calls())


def test_envoy_shares_by_utilisation(balanced: StartBalanced) -> None:
    live = balanced("client_side_weighted_round_robin", OPTIONS, REPORTING)
    assert shares_behind_envoy(live) == pytest.approx(SHARES, rel=TOLERANCE)


def test_during_the_blackout_all_replicas_have_the_same_weight(balanced: StartBalanced) -> None:
    live = balanced("client_side_weighted_round_robin", {**OPTIONS, "blackout_ms": 60_000}, REPORTING)
    assert shares_behind_envoy(live) == pytest.approx(dict.fromkeys(SHARES, 1 / 4), rel=TOLERANCE)


def test_the_client_shares_by_utilisation(balanced: StartBalanced) -> None:
    live = balanced(
        "round_robin", {}, REPORTING
    )  # only its replicas are used; the client does not call Envoy
    config = service_config("weighted_round_robin", OPTIONS)

    async def make_calls() -> dict[str, float]:
        options = [*OWN_CONNECTION, ("grpc.service_config", config)]
        async with grpc.aio.insecure_channel("ipv4:" + ",".join(live.names), options=options) as channel:
            return await shares_once_known(VideoServiceStub(channel))

    assert uvloop.run(make_calls()) == pytest.approx(SHARES, rel=TOLERANCE)
