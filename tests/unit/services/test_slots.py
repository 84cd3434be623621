"""Slots: never more holders than slots, first come first served, no slot lost on cancellation."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from services.slots import Slots
from tests.unit.thorough import examples


async def turns(count: int = 5) -> None:
    """Let the event loop run some iterations, so that all ready tasks have run."""
    for _ in range(count):
        await asyncio.sleep(0)


class Caller:
    """Takes a slot and holds it until `leave` is set."""

    def __init__(self, slots: Slots, served: list[int], number: int) -> None:
        self.leave = asyncio.Event()
        self.task = asyncio.create_task(self._hold(slots, served, number))

    async def _hold(self, slots: Slots, served: list[int], number: int) -> None:
        await slots.acquire()
        try:
            served.append(number)
            await self.leave.wait()
        finally:
            slots.release()


def test_served_in_the_order_of_arrival() -> None:
    async def scene() -> None:
        slots, served = Slots(2), list[int]()
        callers = [Caller(slots, served, number) for number in range(6)]
        await turns()
        assert served == [0, 1]
        assert (slots.held, slots.waiting) == (2, 4)
        for leaving, expected in ((1, [0, 1, 2]), (0, [0, 1, 2, 3]), (3, [0, 1, 2, 3, 4])):
            callers[leaving].leave.set()
            await turns()
            assert served == expected
        for caller in callers:
            caller.leave.set()
        await asyncio.gather(*(caller.task for caller in callers))
        assert (slots.held, slots.waiting) == (0, 0)

    asyncio.run(scene())


def test_a_caller_cancelled_in_the_queue_is_skipped() -> None:
    async def scene() -> None:
        slots, served = Slots(1), list[int]()
        callers = [Caller(slots, served, number) for number in range(3)]
        await turns()
        callers[1].task.cancel()
        await turns()
        assert slots.waiting == 1
        callers[0].leave.set()
        await turns()
        assert served == [0, 2]
        callers[2].leave.set()
        await turns()
        assert slots.held == 0

    asyncio.run(scene())


def test_a_caller_cancelled_when_it_gets_its_slot_passes_it_on() -> None:
    async def scene() -> None:
        slots, served = Slots(1), list[int]()
        callers = [Caller(slots, served, number) for number in range(3)]
        await turns()
        slots.release()  # grants caller 1 its slot; its task has not run yet
        callers[1].task.cancel()
        await turns()
        assert served == [0, 2]

    asyncio.run(scene())


def test_a_slot_released_while_a_caller_is_cancelled_goes_to_the_next() -> None:
    async def scene() -> None:
        slots, served = Slots(1), list[int]()
        callers = [Caller(slots, served, number) for number in range(3)]
        await turns()
        callers[1].task.cancel()
        slots.release()  # caller 1 is still in the queue; its task has not yet seen the cancellation
        await turns()
        assert served == [0, 2]

    asyncio.run(scene())


def test_more_slots_serve_the_queue_at_once_and_fewer_let_holders_finish() -> None:
    async def scene() -> None:
        slots, served = Slots(1), list[int]()
        callers = [Caller(slots, served, number) for number in range(5)]
        await turns()
        slots.resize(3)
        await turns()
        assert served == [0, 1, 2]
        slots.resize(1)
        for number in (0, 1):
            callers[number].leave.set()
        await turns()
        assert (served, slots.held) == ([0, 1, 2], 1)
        for caller in callers:
            caller.leave.set()
        await turns()
        assert (served, slots.held) == ([0, 1, 2, 3, 4], 0)

    asyncio.run(scene())


STEP = st.tuples(st.sampled_from(["come", "go", "cancel", "resize"]), st.integers(0, 5))


@settings(deadline=None, max_examples=examples(50))
@given(count=st.integers(1, 4), steps=st.lists(STEP, max_size=40))
def test_no_slot_is_ever_lost_or_held_twice(count: int, steps: list[tuple[str, int]]) -> None:
    async def scene() -> None:
        slots, served, callers, most = Slots(count), list[int](), list[Caller](), count
        for step, number in steps:
            if step == "come":
                callers.append(Caller(slots, served, len(callers)))
            elif step == "resize":
                slots.resize(number + 1)
                most = max(most, number + 1)
            elif number < len(callers):
                caller = callers[number]
                caller.leave.set() if step == "go" else caller.task.cancel()
            await turns(number)
            assert slots.held <= most
        for caller in callers:
            caller.leave.set()
        await asyncio.gather(*(caller.task for caller in callers), return_exceptions=True)
        assert (slots.held, slots.waiting) == (0, 0)
        assert set(served) >= {n for n, caller in enumerate(callers) if not caller.task.cancelled()}

    asyncio.run(scene())
