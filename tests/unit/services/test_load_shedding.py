"""Load shedding: what a replica refuses when it arrives, and that it learns from whole service times."""

import asyncio

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.behaviour import Behaviour
from services.call import Call
from services.errors import RpcStatusError
from services.load_shedding import LoadShedding
from services.settings import ReplicaSettings, ServiceTime, Shedding, problem_of
from services.slots import Slots
from tests.unit.thorough import examples

MS = 1_000_000
AWARE = Shedding(deadline_aware=True)


async def busy(slots: Slots, calls: int) -> list["asyncio.Task[None]"]:
    """Let so many calls come: they take the slots, then they wait."""
    tasks = [asyncio.create_task(slots.acquire()) for _ in range(calls)]
    await asyncio.sleep(0)
    return tasks


def reason(shedding: LoadShedding, rule: Shedding, calls: int, left_s: float | None, slots: int = 2) -> str:
    """Return what a replica with so many calls says to one more."""

    async def scene() -> str:
        own = Slots(slots)
        tasks = await busy(own, calls)
        said = shedding.reason_to_refuse(rule, own, lambda: left_s)
        for task in tasks:
            task.cancel()
        return said

    return asyncio.run(scene())


@settings(max_examples=examples(50), deadline=None)
@given(slots=st.integers(1, 5), bound=st.integers(0, 5), calls=st.integers(0, 12))
def test_a_bounded_queue_takes_what_fits_and_no_more(slots: int, bound: int, calls: int) -> None:
    refused = reason(LoadShedding(), Shedding(max_queue=bound), calls, None, slots) != ""
    assert refused == (calls >= slots + bound)


@settings(max_examples=examples(50), deadline=None)
@given(
    slots=st.integers(1, 5),
    calls=st.integers(0, 12),
    mean_ms=st.integers(1, 100),
    left_ms=st.integers(1, 500),
)
def test_a_call_is_refused_if_its_turn_and_its_service_end_after_the_deadline(
    slots: int, calls: int, mean_ms: int, left_ms: int
) -> None:
    shedding = LoadShedding()
    shedding.learn(mean_ms * MS)
    # With all slots busy one is free every mean / slots; the call needs the turn after those before it.
    turns = max(0, calls - slots + 1)
    needed_ms = mean_ms * turns / slots + mean_ms
    if needed_ms != left_ms:
        refused = reason(shedding, AWARE, calls, left_ms / 1000, slots) != ""
        assert refused == (needed_ms > left_ms)


def test_without_a_deadline_or_a_service_time_nothing_is_refused() -> None:
    assert reason(LoadShedding(), AWARE, 50, 0.001) == ""
    shedding = LoadShedding()
    shedding.learn(100 * MS)
    assert reason(shedding, AWARE, 50, None) == ""
    assert reason(shedding, AWARE, 50, 0.001) != ""


def test_recent_service_times_count_most() -> None:
    shedding = LoadShedding()
    shedding.learn(100 * MS)
    assert reason(shedding, AWARE, 0, 0.05) != ""
    for _ in range(40):
        shedding.learn(10 * MS)
    assert reason(shedding, AWARE, 0, 0.05) == ""


def test_a_refused_call_neither_works_nor_uses_the_cache() -> None:
    async def scene() -> Call:
        own = ReplicaSettings.model_validate(
            {
                "slots": 1,
                "service_time_ms": ServiceTime(distribution="constant", mean=0),
                "cache": {"sessions": 1, "hit_factor": 0.5},
                "shedding": Shedding(max_queue=0),
            }
        )
        behaviour = Behaviour(own, "1")
        await behaviour.slots.acquire()
        call = Call(1, "AddVideo", "127.0.0.1:1", 0, 1, metadata=(("x-lab-session", "1.0"),))
        with pytest.raises(RpcStatusError, match="refused: 0 calls wait, and no more may") as caught:
            behaviour.admit(call)
        assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert not caught.value.after_headers
        return call

    call = asyncio.run(scene())
    assert (call.cache, call.queue_ns, call.service_ns) == ("", 0, 0)


def test_the_replica_learns_from_calls_that_were_served_to_their_end() -> None:
    async def scene() -> str:
        slow = {"distribution": "constant", "mean": 20}
        own = ReplicaSettings.model_validate(
            {"slots": 1, "service_time_ms": slow, "shedding": {"deadline_aware": True}}
        )
        behaviour = Behaviour(own, "1")
        call = Call(1, "AddVideo", "127.0.0.1:1", 0, 1)
        cut = asyncio.create_task(behaviour.work(call))
        await asyncio.sleep(0.002)
        cut.cancel()
        await asyncio.gather(cut, return_exceptions=True)
        behaviour.admit(call, lambda: 0.001)  # nothing is known yet
        await behaviour.work(call)
        with pytest.raises(RpcStatusError) as caught:
            behaviour.admit(call, lambda: 0.001)
        return caught.value.message

    assert "and the deadline is in 0.001 s" in asyncio.run(scene())


def test_shedding_that_would_refuse_nothing_is_a_mistake() -> None:
    document = {"slots": 1, "service_time_ms": {"distribution": "constant", "mean": 1}}
    with pytest.raises(ValidationError) as caught:
        ReplicaSettings.model_validate(document | {"shedding": {}})
    assert problem_of(caught.value) == (
        "shedding: it would refuse nothing; expected max_queue, or deadline_aware: true"
    )
    with pytest.raises(ValidationError) as caught:
        ReplicaSettings.model_validate(document | {"shedding": {"max_queue": 1}, "server": "threads"})
    assert problem_of(caught.value).startswith("server: 'threads' has no shedding")
