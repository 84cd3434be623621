"""Behaviour: measured work, injected slowness and failures, the session cache, load reports."""

import asyncio

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.behaviour import Behaviour
from services.behaviour_message import changed
from services.call import Call
from services.errors import RpcStatusError
from services.lab_control_pb2 import Behaviour as BehaviourMessage
from services.settings import ReplicaSettings, ServiceTime, SessionCache
from services.video_service_pb2 import LoadReport
from tests.unit.thorough import examples

pytestmark = pytest.mark.alone  # it measures milliseconds

CONSTANT_5 = ReplicaSettings(slots=2, service_time_ms=ServiceTime(distribution="constant", mean=5))
EXPONENTIAL_4 = ServiceTime(distribution="exponential", mean=4)
MS = 1_000_000


def new_call(session: str = "") -> Call:
    metadata = (("x-lab-request-id", "1"), ("x-lab-session", session)) if session else ()
    return Call(1, "AddVideo", "127.0.0.1:1", arrived_ns=0, in_flight=1, metadata=metadata)


def run_calls(behaviour: Behaviour, count: int, session: str = "") -> list[Call]:
    async def scene() -> list[Call]:
        calls = [new_call(session) for _ in range(count)]
        await asyncio.gather(*(behaviour.work(call) for call in calls))
        return calls

    return asyncio.run(scene())


def test_calls_beyond_the_slots_wait_for_earlier_calls() -> None:
    calls = run_calls(Behaviour(CONSTANT_5, "1"), 6)
    rounds = [round(call.queue_ns / (5 * MS)) for call in calls]
    assert rounds[:2] == [0, 0]
    assert rounds == sorted(rounds)
    assert min(call.queue_ns for call in calls[4:]) >= 8 * MS
    assert all(call.service_ns >= 3.9 * MS for call in calls)


def test_the_slow_factor_multiplies() -> None:
    behaviour = Behaviour(CONSTANT_5, "1")
    behaviour.apply(changed(CONSTANT_5, BehaviourMessage(slow_factor=6)))
    (call,) = run_calls(behaviour, 1)
    assert call.service_ns >= 28 * MS


def test_a_share_of_the_calls_fails_with_the_code() -> None:
    settings = changed(CONSTANT_5, BehaviourMessage(fail_share=0.25, fail_code="RESOURCE_EXHAUSTED"))
    behaviour = Behaviour(settings, "1")
    failures = 0
    for _ in range(4000):
        try:
            behaviour.admit(new_call())
        except RpcStatusError as refused:
            failures += 1
            assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert 900 <= failures <= 1100


def test_a_cancelled_call_leaves_the_queue_and_keeps_its_times() -> None:
    async def scene() -> None:
        behaviour = Behaviour(changed(CONSTANT_5, BehaviourMessage(slots=1, mean_ms=50)), "1")
        calls = [new_call() for _ in range(3)]
        tasks = [asyncio.create_task(behaviour.work(call)) for call in calls]
        await asyncio.sleep(0.01)
        assert behaviour.slots.waiting == 2
        tasks[1].cancel()  # waits for a slot
        tasks[0].cancel()  # holds a slot
        await asyncio.wait(tasks[:2])
        assert calls[1].queue_ns >= 8 * MS
        assert calls[1].service_ns == 0
        assert 8 * MS <= calls[0].service_ns < 50 * MS
        await tasks[2]
        assert calls[2].service_ns >= 48 * MS
        assert (behaviour.slots.held, behaviour.slots.waiting) == (0, 0)

    asyncio.run(scene())


def draws(behaviour: Behaviour, count: int) -> list[float]:
    """Return the slow_draw of `count` calls."""
    calls = [new_call() for _ in range(count)]
    for call in calls:
        behaviour.admit(call)
    return [call.slow_draw for call in calls]


@settings(deadline=None, max_examples=examples(30))
@given(share=st.floats(0, 1), seed=st.text("abc", max_size=3))
def test_the_slow_share_of_the_calls_is_slow(share: float, seed: str) -> None:
    behaviour = Behaviour(changed(CONSTANT_5, BehaviourMessage(slow_factor=9, slow_share=share)), seed)
    slow = sum(draw < share for draw in draws(behaviour, 2000)) / 2000
    assert slow == pytest.approx(share, abs=0.06)  # more than five standard deviations


@pytest.mark.parametrize(("share", "slow"), [(0, 0), (1, 4)])
def test_the_slow_factor_applies_to_slow_calls_only(share: float, slow: int) -> None:
    slowed = changed(CONSTANT_5, BehaviourMessage(slots=4, slow_factor=40, slow_share=share))
    behaviour = Behaviour(slowed, "1")

    async def scene() -> list[Call]:
        calls = [new_call() for _ in range(4)]
        for call in calls:
            behaviour.admit(call)
        await asyncio.gather(*(behaviour.work(call) for call in calls))
        return calls

    assert sum(call.service_ns > 190 * MS for call in asyncio.run(scene())) == slow


def test_a_known_session_finds_its_data_in_the_cache() -> None:
    cached = changed(CONSTANT_5, BehaviourMessage(cache_sessions=2, cache_hit_factor=0.1, mean_ms=200))
    behaviour = Behaviour(cached, "1")

    async def serve(session: str, messages: int = 1) -> tuple[str, list[bool]]:
        call, quick = new_call(session), []
        behaviour.admit(call)
        for _ in range(messages):
            before_ns = call.service_ns
            await behaviour.work(call)
            quick.append(call.service_ns - before_ns < 190 * MS)
        return call.cache, quick

    async def scene() -> None:
        assert await serve("0.0") == ("miss", [False])
        assert await serve("0.0") == ("hit", [True])
        assert await serve("") == ("", [False])
        assert await serve("1.0", messages=3) == ("miss", [False, True, True])
        assert await serve("2.0") == ("miss", [False])
        assert await serve("0.0") == ("miss", [False])
        behaviour.apply(changed(cached, BehaviourMessage(cache_sessions=0)))
        assert await serve("0.0") == ("", [False])

    asyncio.run(scene())


CACHED = ReplicaSettings(
    slots=2,
    service_time_ms=ServiceTime(distribution="constant", mean=5),
    cache=SessionCache(sessions=2, hit_factor=0.1),
)


def test_calls_that_begin_before_the_first_one_has_ended_miss_too() -> None:
    """With two slots the third call begins after the first one has ended."""
    calls = run_calls(Behaviour(CACHED, "1"), 3, "0.0")
    assert [call.cache for call in calls] == ["miss", "miss", "hit"]


def test_a_call_that_is_cancelled_leaves_nothing_in_the_cache() -> None:
    async def scene() -> list[str]:
        behaviour, call = Behaviour(CACHED, "1"), new_call("0.0")
        task = asyncio.create_task(behaviour.work(call))
        await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])
        later = [new_call("0.0") for _ in range(2)]
        for one in later:
            await behaviour.work(one)
        return [call.cache, *(one.cache for one in later)]

    assert asyncio.run(scene()) == ["miss", "miss", "hit"]


def test_a_call_that_gets_no_slot_says_nothing_of_the_cache() -> None:
    async def scene() -> str:
        behaviour, calls = Behaviour(CACHED, "1"), [new_call("0.0") for _ in range(3)]
        tasks = [asyncio.create_task(behaviour.work(call)) for call in calls]
        await asyncio.sleep(0.001)
        tasks[2].cancel()
        await asyncio.wait(tasks)
        return calls[2].cache

    assert asyncio.run(scene()) == ""


def test_a_call_that_fails_on_purpose_caches_nothing() -> None:
    message = BehaviourMessage(cache_sessions=2, cache_hit_factor=0.5, fail_share=1)
    behaviour = Behaviour(changed(CONSTANT_5, message), "1")
    with pytest.raises(RpcStatusError):
        behaviour.admit(new_call("0.0"))
    behaviour.apply(changed(behaviour.settings, BehaviourMessage(fail_share=0)))
    (call,) = run_calls(behaviour, 1, "0.0")
    assert call.cache == "miss"


def test_load_reports_as_set() -> None:
    behaviour = Behaviour(CONSTANT_5, "1")
    assert behaviour.load_report("OK") == b""
    behaviour.apply(changed(CONSTANT_5, BehaviourMessage(orca="0.25")))
    report = LoadReport.FromString(behaviour.load_report("OK"))
    assert (report.cpu_utilization, report.rps_fractional, report.eps) == (0.25, 100, 0)
    behaviour.apply(CONSTANT_5)
    assert behaviour.load_report("OK") == b""


def test_a_measured_load_counts_work_all_calls_and_only_real_errors() -> None:
    behaviour = Behaviour(changed(CONSTANT_5, BehaviourMessage(orca="measured", mean_ms=40)), "1")

    async def scene() -> LoadReport:
        await asyncio.gather(*(behaviour.work(new_call()) for _ in range(2)))
        for code in ("OK", "CANCELLED", "UNAVAILABLE"):
            behaviour.load_report(code)
        return LoadReport.FromString(behaviour.load_report("DEADLINE_EXCEEDED"))

    report = asyncio.run(scene())
    assert report.rps_fractional == pytest.approx(2 * report.eps)
    assert report.rps_fractional > 0
    assert 0.3 < report.cpu_utilization <= 1
