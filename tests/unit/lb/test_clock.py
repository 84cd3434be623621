"""Waiting for instants: never early, in order, and in fair turns with whatever else the event loop does."""

import asyncio
import select
import socket
import time
from collections.abc import Coroutine
from typing import Any

import pytest
import uvloop

from lb import clock
from lb.clock import NS_PER_MS, Alarm, sleep_until, turn_at


def run(script: Coroutine[Any, Any, None]) -> None:
    uvloop.run(script)


def test_a_sleeper_wakes_at_its_instant_and_never_early() -> None:
    early_ns: list[int] = []

    async def sleeper(instant_ns: int) -> None:
        await turn_at(instant_ns)
        early_ns.append(instant_ns - time.monotonic_ns())

    async def script() -> None:
        start_ns = time.monotonic_ns()
        # Instants that no timer of whole milliseconds could meet.
        await asyncio.gather(*(sleeper(start_ns + number * 137_911) for number in range(200)))

    run(script())
    assert len(early_ns) == 200
    assert max(early_ns) <= 0


def test_sleepers_wake_in_the_order_of_their_instants() -> None:
    woken: list[int] = []

    async def sleeper(number: int, instant_ns: int) -> None:
        await turn_at(instant_ns)
        woken.append(number)

    async def script() -> None:
        start_ns = time.monotonic_ns() + 2 * NS_PER_MS
        late = [sleeper(number, 1 + number) for number in (3, 1, 2)]  # long past
        equal = [sleeper(number, start_ns) for number in (5, 4, 6)]
        await asyncio.gather(sleeper(7, start_ns + NS_PER_MS), *equal, *late)

    run(script())
    assert woken == [1, 2, 3, 5, 4, 6, 7]


def test_a_late_process_reads_before_it_wakes_the_next_sender() -> None:
    """Many senders are due. What arrives meanwhile is read within a turn, not after all of them."""
    events: list[str] = []

    async def sender(writer: socket.socket) -> None:
        await turn_at(1)
        events.append("sent")
        writer.send(b"x")

    async def script() -> None:
        reader, writer = socket.socketpair()
        reader.setblocking(False)

        def read() -> None:
            events.extend("read" for _ in reader.recv(1000))

        asyncio.get_running_loop().add_reader(reader, read)
        await asyncio.gather(*(sender(writer) for _ in range(100)))
        while events.count("read") < 100:
            await asyncio.sleep(0)
        asyncio.get_running_loop().remove_reader(reader)
        reader.close()
        writer.close()

    run(script())
    waiting = most = 0
    for event in events:
        waiting += 1 if event == "sent" else -1
        most = max(most, waiting)
    assert most <= 3


def test_a_cancelled_sleeper_delays_nobody() -> None:
    problems: list[dict[str, Any]] = []

    async def script() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, problem: problems.append(problem))
        soon_ns = time.monotonic_ns() + NS_PER_MS
        cancelled = [asyncio.ensure_future(sleep_until(soon_ns)) for _ in range(10)]
        await asyncio.sleep(0)
        for sleeper in cancelled:
            sleeper.cancel()
        async with asyncio.timeout(10):
            await sleep_until(soon_ns + 1)

    run(script())
    assert problems == []


def test_an_alarm_without_sleepers_is_silent() -> None:
    async def script() -> None:
        alarm = Alarm()
        await alarm.at(1)
        await alarm.at(time.monotonic_ns() + NS_PER_MS)
        assert select.select([alarm.fileno()], [], [], 0) == ([], [], [])

    run(script())


def test_each_event_loop_has_an_alarm_of_its_own() -> None:
    for _ in range(3):
        run(sleep_until(time.monotonic_ns() + NS_PER_MS))


def test_no_timer_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "TFD_CLOEXEC", 1)  # no flag of timerfd_create

    async def script() -> None:
        with pytest.raises(OSError, match="timerfd_create failed"):
            Alarm()

    run(script())
