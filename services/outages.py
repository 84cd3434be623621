"""Outages on purpose: every so often a replica is away for a while, as a server that crashes and restarts."""

import asyncio
from collections.abc import Awaitable, Callable


class Outages:
    """Plays the planned outages: `go_away` at the beginning of each, `come_back` at its end.

    Both are always finished once begun. To be made on a running event loop.
    """

    def __init__(
        self, go_away: Callable[[], Awaitable[None]], come_back: Callable[[], Awaitable[None]]
    ) -> None:
        self._go_away = go_away
        self._come_back = come_back
        self._loop = asyncio.get_running_loop()
        self._every_s = self._for_s = self._begun_s = 0.0
        self._news = asyncio.Event()
        self._stopped = False

    def plan(self, every_s: float, for_ms: float) -> None:
        """From now on an outage of `for_ms` milliseconds every `every_s` seconds; 0 and 0: none."""
        self._every_s, self._for_s, self._begun_s = every_s, for_ms / 1000, self._loop.time()
        self._news.set()

    def stop(self) -> None:
        """Let `run` end; a replica that is away stays away."""
        self._stopped = True
        self._news.set()

    async def run(self) -> None:
        """Play until `stop`. Raises what going away or coming back raises."""
        while not self._stopped:
            self._news.clear()
            if self._every_s:
                await self._play()
            else:
                await self._news.wait()

    async def _play(self) -> None:
        begins_s = self._begun_s + self._every_s
        while not await self._news_before(begins_s):
            await self._go_away()
            if not await self._news_before(begins_s + self._for_s):
                await self._come_back()
            begins_s += self._every_s

    async def _news_before(self, instant_s: float) -> bool:
        try:
            async with asyncio.timeout_at(instant_s):
                await self._news.wait()
        except TimeoutError:
            return False
        return True
