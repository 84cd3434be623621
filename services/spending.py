"""Ways to spend a service time: asleep, or with the CPU."""

import asyncio
import time

_TICK_NS = 1_000_000  # uvloop's timers count whole milliseconds (libuv's uv_timer)
_SLICE_NS = 500_000


class Sleeper:
    """Sleeps with a correct mean, although the event loop's timers count whole milliseconds.

    The error of one sleep, up to a millisecond, is corrected in the next one. So the mean of many sleeps is
    right. A single one may be up to two milliseconds short: by its own error and by that of the one before.
    """

    def __init__(self) -> None:
        self._owed_ns = 0

    async def sleep(self, duration_ns: int) -> None:
        """Sleep for `duration_ns`, in the mean."""
        started_ns = time.monotonic_ns()
        wanted_ns = duration_ns + self._owed_ns
        self._owed_ns = 0
        ticks = round(wanted_ns / _TICK_NS)
        if ticks > 0:
            await asyncio.sleep(ticks * _TICK_NS / 1e9)
        missed_ns = wanted_ns - (time.monotonic_ns() - started_ns)
        self._owed_ns = max(-_TICK_NS, min(_TICK_NS, self._owed_ns + missed_ns))


async def burn(duration_ns: int) -> None:
    """Use `duration_ns` of this thread's CPU time, in slices between which the event loop runs."""
    left_ns = duration_ns
    while left_ns > 0:
        started_ns = time.thread_time_ns()
        until_ns = started_ns + min(left_ns, _SLICE_NS)
        while time.thread_time_ns() < until_ns:
            pass
        left_ns -= time.thread_time_ns() - started_ns
        await asyncio.sleep(0)
