"""LoopWork: the coroutines that threads start on an event loop, and their end."""

import asyncio
from concurrent.futures import Future, wait

from services.threaded_call import LoopWork


async def answer(number: int) -> int:
    await asyncio.sleep(0)
    return number


async def forever() -> None:
    await asyncio.Event().wait()


def cancelled(begun: list["Future[None]"]) -> list[bool]:
    assert not wait(begun, 5).not_done
    return [done.cancelled() for done in begun]


def test_a_thread_gets_what_its_coroutine_returns() -> None:
    async def scene() -> int:
        work = LoopWork(asyncio.get_running_loop())
        return await asyncio.to_thread(lambda: work.begin(answer(7)).result(5))

    assert asyncio.run(scene()) == 7


def test_cut_off_cancels_running_and_later_coroutines() -> None:
    async def scene() -> None:
        work = LoopWork(asyncio.get_running_loop())
        begun = [await asyncio.to_thread(work.begin, forever()) for _ in range(3)]
        work.cut_off()
        begun.append(await asyncio.to_thread(work.begin, forever()))
        assert await asyncio.to_thread(cancelled, begun) == [True] * 4

    asyncio.run(scene())


def test_finished_coroutines_are_forgotten() -> None:
    async def scene() -> None:
        work = LoopWork(asyncio.get_running_loop())
        for number in range(100):
            await asyncio.to_thread(lambda number=number: work.begin(answer(number)).result(5))
        await asyncio.sleep(0.01)
        assert not work._running

    asyncio.run(scene())
