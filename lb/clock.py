"""Waiting for an instant of the monotonic clock, which every process of a machine shares."""

import asyncio
import time

NS_PER_MS = 1_000_000


async def sleep_until(instant_ns: int) -> None:
    """Return once the monotonic clock shows `instant_ns`; at once if it does already."""
    # uvloop's timers count whole milliseconds: rounded up, so that nothing is sent early and nothing spins.
    while (left_ns := instant_ns - time.monotonic_ns()) > 0:
        await asyncio.sleep(-(-left_ns // NS_PER_MS) / 1000)
