"""Outages: away and back at the planned times; the plan may change and stop at any moment."""

import asyncio

import pytest

from services.outages import Outages
from services.settings import Outage

LONG = Outage(every_s=3600, for_ms=60_000)


class Story:
    """Runs an Outages object and records what it did and when."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.at_s: list[float] = []
        self.outages = Outages(self.go_away, self.come_back)
        self.run = asyncio.create_task(self.outages.run())

    async def go_away(self) -> None:
        self.at_s.append(asyncio.get_running_loop().time())
        self.done.append("away")

    async def come_back(self) -> None:
        self.at_s.append(asyncio.get_running_loop().time())
        self.done.append("back")

    async def wait_for(self, count: int) -> None:
        while len(self.done) < count:
            await asyncio.sleep(0.001)

    async def end(self) -> list[str]:
        self.outages.stop()
        await asyncio.wait_for(self.run, 5)
        return self.done


def test_away_and_back_at_the_planned_times() -> None:
    async def scene() -> None:
        story = Story()
        begun_s = asyncio.get_running_loop().time()
        story.outages.plan(Outage(every_s=0.1, for_ms=40))
        await asyncio.wait_for(story.wait_for(6), 5)
        assert (await story.end())[:6] == ["away", "back"] * 3
        planned_s = [begun_s + offset_s for offset_s in (0.1, 0.14, 0.2, 0.24, 0.3, 0.34)]
        early_s = [planned - at for planned, at in zip(planned_s, story.at_s, strict=False)]
        assert max(early_s) < 0.002  # never early; how late depends on the load of the machine

    asyncio.run(scene())


def test_without_a_plan_nothing_happens() -> None:
    async def scene() -> None:
        story = Story()
        story.outages.plan(None)
        await asyncio.sleep(0.05)
        assert await story.end() == []

    asyncio.run(scene())


@pytest.mark.parametrize("then", [None, LONG])
def test_a_change_while_away_brings_it_back(then: Outage | None) -> None:
    async def scene() -> None:
        story = Story()
        story.outages.plan(Outage(every_s=0.1, for_ms=90))
        while story.done[-1:] != ["away"]:
            await asyncio.sleep(0)
        story.outages.plan(then)
        seen = [*story.done, "back"]
        await asyncio.wait_for(story.wait_for(len(seen)), 5)
        await asyncio.sleep(0.05)
        assert await story.end() == seen

    asyncio.run(scene())


def test_a_change_before_an_outage_is_in_force_at_once() -> None:
    async def scene() -> None:
        story = Story()
        story.outages.plan(LONG)
        await asyncio.sleep(0.01)
        story.outages.plan(Outage(every_s=0.1, for_ms=5))
        await asyncio.wait_for(story.wait_for(2), 5)
        assert (await story.end())[:2] == ["away", "back"]

    asyncio.run(scene())


def test_after_a_stop_during_an_outage_it_stays_away() -> None:
    async def scene() -> None:
        story = Story()
        story.outages.plan(Outage(every_s=0.1, for_ms=40))
        while story.done[-1:] != ["away"]:
            await asyncio.sleep(0)
        seen = list(story.done)
        assert await story.end() == seen

    asyncio.run(scene())


def test_an_error_ends_the_run() -> None:
    async def broken() -> None:
        raise RuntimeError("no way back")

    async def scene() -> None:
        outages = Outages(broken, broken)
        outages.plan(Outage(every_s=0.1, for_ms=5))
        with pytest.raises(RuntimeError, match="no way back"):
            await asyncio.wait_for(outages.run(), 5)

    asyncio.run(scene())
