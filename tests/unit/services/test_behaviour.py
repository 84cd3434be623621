"""Behaviour: settings checked, changed all or none; work measured; slowness and failures on purpose."""

import asyncio

import grpc
import pytest

from services.behaviour import Behaviour
from services.call import Call
from services.refused import RefusedError
from services.service_time import ServiceTime
from services.settings import Settings
from services.video_service_pb2 import Behaviour as BehaviourMessage

CONSTANT_5 = Settings(slots=2, service_time=ServiceTime("constant", 5))
MS = 1_000_000


def new_call() -> Call:
    return Call(request_id=1, method="AddVideo", peer="127.0.0.1:1", arrived_ns=0, in_flight=1)


def run_calls(behaviour: Behaviour, count: int) -> list[Call]:
    async def scene() -> list[Call]:
        calls = [new_call() for _ in range(count)]
        await asyncio.gather(*(behaviour.work(call) for call in calls))
        return calls

    return asyncio.run(scene())


def test_calls_beyond_the_slots_queue_for_those_before_them() -> None:
    calls = run_calls(Behaviour(CONSTANT_5, "1"), 6)
    rounds = [round(call.queue_ns / (5 * MS)) for call in calls]
    assert rounds[:2] == [0, 0]
    assert rounds == sorted(rounds)
    assert min(call.queue_ns for call in calls[4:]) >= 8 * MS
    assert all(call.service_ns >= 3.9 * MS for call in calls)


def test_the_same_seed_serves_the_same_times() -> None:
    settings = Settings(slots=1, service_time=ServiceTime("exponential", 4))

    def times(seed: str) -> list[int]:
        behaviour = Behaviour(settings, seed)
        return [settings.service_time.draw_ns(behaviour._service_rng) for _ in range(20)]

    assert times("1/replica-0") == times("1/replica-0")
    assert times("1/replica-0") != times("1/replica-1")
    assert times("1/replica-0") != times("2/replica-0")


def test_failures_do_not_shift_the_service_times() -> None:
    failing = Settings(slots=1, service_time=ServiceTime("exponential", 4), fail_share=0.5)
    plain, shaken = Behaviour(CONSTANT_5, "1"), Behaviour(failing, "1")
    for _ in range(10):
        try:
            shaken.admit(new_call())
        except RefusedError:
            continue
    draw = failing.service_time.draw_ns
    assert draw(plain._service_rng) == draw(shaken._service_rng)


def test_the_slow_factor_multiplies() -> None:
    behaviour = Behaviour(CONSTANT_5, "1")
    behaviour.apply(CONSTANT_5.changed(BehaviourMessage(slow_factor=6)))
    (call,) = run_calls(behaviour, 1)
    assert call.service_ns >= 28 * MS


def test_a_share_of_the_calls_fails_with_the_code() -> None:
    settings = CONSTANT_5.changed(BehaviourMessage(fail_share=0.25, fail_code="RESOURCE_EXHAUSTED"))
    behaviour = Behaviour(settings, "1")
    failures = 0
    for _ in range(4000):
        try:
            behaviour.admit(new_call())
        except RefusedError as refused:
            failures += 1
            assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert 900 <= failures <= 1100


def test_a_cancelled_call_leaves_the_line_and_keeps_its_times() -> None:
    async def scene() -> None:
        behaviour = Behaviour(CONSTANT_5.changed(BehaviourMessage(slots=1, mean_ms=50)), "1")
        calls = [new_call() for _ in range(3)]
        tasks = [asyncio.create_task(behaviour.work(call)) for call in calls]
        await asyncio.sleep(0.01)
        assert behaviour.slots.waiting == 2
        tasks[1].cancel()  # in line
        tasks[0].cancel()  # at work
        await asyncio.wait(tasks[:2])
        assert calls[1].queue_ns >= 8 * MS
        assert calls[1].service_ns == 0
        assert 8 * MS <= calls[0].service_ns < 50 * MS
        await tasks[2]
        assert calls[2].service_ns >= 48 * MS
        assert (behaviour.slots.held, behaviour.slots.waiting) == (0, 0)

    asyncio.run(scene())


def test_a_change_sets_only_what_it_names() -> None:
    changed = CONSTANT_5.changed(BehaviourMessage(mean_ms=0, burn_cpu=True))
    assert changed == Settings(slots=2, service_time=ServiceTime("constant", 0), burn_cpu=True)
    assert CONSTANT_5.changed(changed.to_message()) == changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (BehaviourMessage(slots=0), "slots is 0, expected 1 to 10000"),
        (BehaviourMessage(mean_ms=-1), "mean_ms is -1, expected 0 to 60000 milliseconds"),
        (
            BehaviourMessage(distribution="uniform"),
            "distribution 'uniform' is unknown, expected one of constant, exponential, lognormal",
        ),
        (BehaviourMessage(slow_factor=float("nan")), "slow_factor is nan, expected 0 to 1000"),
        (BehaviourMessage(slow_factor=float("inf")), "slow_factor is inf, expected 0 to 1000"),
        (BehaviourMessage(fail_share=1.5), "fail_share is 1.5, expected a share from 0 to 1"),
        (
            BehaviourMessage(fail_code="unavailabel"),
            "fail_code is 'unavailabel', expected a gRPC error name; did you mean UNAVAILABLE?",
        ),
        (BehaviourMessage(fail_code="OK"), "fail_code is 'OK', expected a gRPC error name"),
    ],
)
def test_a_bad_change_is_refused(change: BehaviourMessage, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        CONSTANT_5.changed(change)
    assert str(refused.value) == message
