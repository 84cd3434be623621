"""Waits for instants of the monotonic clock, which all processes of a machine share."""

import asyncio
import time

NS_PER_MS = 1_000_000


async def sleep_until(instant_ns: int) -> None:
    """Return when the monotonic clock has reached `instant_ns`."""
    # uvloop's timers count whole milliseconds. Rounding up sends nothing early and does not spin.
    while (left_ns := instant_ns - time.monotonic_ns()) > 0:
        await asyncio.sleep(-(-left_ns // NS_PER_MS) / 1000)
