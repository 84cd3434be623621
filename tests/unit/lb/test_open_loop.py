"""Calls of an open loop: started at their times whatever the earlier ones do, and ended with the loop."""

import asyncio
import time
from collections.abc import Coroutine, Iterator
from itertools import pairwise
from typing import Any

import pytest
import uvloop

from lb.clock import NS_PER_MS
from lb.open_loop import OpenLoop
from lb.plan import PlannedCall


def plan(*at_ms: float) -> Iterator[PlannedCall]:
    for at in at_ms:
        yield PlannedCall(round(at * NS_PER_MS), "AddVideo")


def run(script: Coroutine[Any, Any, None]) -> None:
    uvloop.run(script)


def test_calls_start_in_order_and_never_early_and_all_have_ended() -> None:
    started: list[tuple[int, int]] = []
    ended: list[int] = []

    async def call(_: PlannedCall, planned_ns: int) -> None:
        started.append((planned_ns, time.monotonic_ns()))
        await asyncio.sleep(0)
        await asyncio.sleep(0.002)
        ended.append(planned_ns)

    async def script() -> None:
        await OpenLoop(plan(0, 1.3, 1.4, 5), time.monotonic_ns(), call).run()

    run(script())
    assert len(started) == 4
    assert all(planned_ns <= at_ns for planned_ns, at_ns in started)
    assert all(one[0] < other[0] for one, other in pairwise(started))
    assert ended == [planned_ns for planned_ns, _ in started]


def test_an_open_call_delays_no_other() -> None:
    others: list[int] = []

    async def script() -> None:
        release = asyncio.Event()

        async def call(planned: PlannedCall, _: int) -> None:
            if planned.at_ns == 0:
                await release.wait()
            else:
                others.append(planned.at_ns)
                if len(others) == 3:
                    release.set()

        async with asyncio.timeout(10):
            await OpenLoop(plan(0, 1, 2, 3), time.monotonic_ns(), call).run()

    run(script())
    assert len(others) == 3


def test_a_plan_without_calls_ends_at_once() -> None:
    async def call(_: PlannedCall, planned_ns: int) -> None:
        raise AssertionError(planned_ns)

    async def script() -> None:
        await OpenLoop(plan(), time.monotonic_ns(), call).run()

    run(script())


def test_a_cancelled_loop_cancels_its_open_calls_and_starts_no_more() -> None:
    events: list[str] = []

    async def call(_: PlannedCall, _planned_ns: int) -> None:
        events.append("started")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # what a call does at its end is waited for
            events.append("ended")

    async def script() -> None:
        loop = asyncio.ensure_future(OpenLoop(plan(0, 0, 50), time.monotonic_ns(), call).run())
        while len(events) < 2:
            await asyncio.sleep(0.001)
        loop.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loop
        assert events == ["started", "started", "ended", "ended"]
        await asyncio.sleep(0.06)

    run(script())
    assert events.count("started") == 2


@pytest.mark.parametrize("at_once", [True, False])
def test_the_error_of_a_call_ends_the_loop(at_once: bool) -> None:
    events: list[str] = []

    async def call(planned: PlannedCall, _: int) -> None:
        try:
            if planned.at_ns:
                if not at_once:
                    await asyncio.sleep(0)
                raise ValueError("broken")
            await asyncio.Event().wait()
        finally:
            events.append("ended")

    async def script() -> None:
        with pytest.raises(ValueError, match="broken"):
            await OpenLoop(plan(0, 1, 10_000), time.monotonic_ns(), call).run()

    run(script())
    assert events == ["ended", "ended"]
