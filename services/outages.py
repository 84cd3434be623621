"""Outages on purpose: every so often a replica is away for a while, as a server that crashes and restarts.

What its callers saw (grpcio 1.85.1, pick_first, 250 calls/s, 0.3 s away every 2.5 s, single runs):
- Calls in hand, and those sent in that moment, end with UNAVAILABLE "Socket closed", wait_for_ready or not.
- Without wait_for_ready the calls after them fail at once, UNAVAILABLE "failed to connect to all addresses",
  for longer than the replica is away: until the channel's next try, after its reconnect backoff of about 1 s
  (grpc.initial_reconnect_backoff_ms). An outage of 0.3 s cost 1.1 s of calls; with 50 ms, 0.4 s.
- With wait_for_ready they wait for that next try, up to 1.5 s, and are served: 5 errors in 1500, not 463.
- 0.3 s away every second, and the try comes as often as not in the next outage: 76 % of the calls failed, and
  with wait_for_ready they piled up to be broken together.
"""

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
            await self._news_before(begins_s + self._for_s)
            if not self._stopped:
                await self._come_back()
            begins_s += self._every_s

    async def _news_before(self, instant_s: float) -> bool:
        try:
            async with asyncio.timeout_at(instant_s):
                await self._news.wait()
        except TimeoutError:
            return False
        return True
