"""Planned outages: at regular times a replica goes away for a while, like a server that crashes and restarts.

What callers saw (grpcio 1.85.1, pick_first, 250 calls/s, away for 0.3 s every 2.5 s, single runs):
- Open calls, and calls sent at that moment, end with UNAVAILABLE "Socket closed", also with wait_for_ready.
- Without wait_for_ready later calls fail at once: UNAVAILABLE "failed to connect to all addresses". They
  fail for longer than the outage lasts, until the channel connects again after its backoff of about 1 s
  (grpc.initial_reconnect_backoff_ms). An outage of 0.3 s cost 1.1 s of calls; with a backoff of 50 ms, 0.4 s.
- With wait_for_ready later calls wait for that moment, up to 1.5 s, and are served: 5 errors in 1500
  calls instead of 463.
- With 0.3 s every second the channel often connects during the next outage: 76 % of the calls failed. With
  wait_for_ready the calls accumulated and the next outage broke them together.
"""

import asyncio
from collections.abc import Awaitable, Callable

from services.settings import Outage


class Outages:
    """Carries out the planned outages: calls `go_away` at the start of each and `come_back` at its end.

    Neither is ever cancelled. Create this on a running event loop.
    """

    def __init__(
        self, go_away: Callable[[], Awaitable[None]], come_back: Callable[[], Awaitable[None]]
    ) -> None:
        self._go_away = go_away
        self._come_back = come_back
        self._loop = asyncio.get_running_loop()
        self._outage: Outage | None = None
        self._planned_at_s = 0.0
        self._changed = asyncio.Event()
        self._stopped = False

    def plan(self, outage: Outage | None) -> None:
        """From now on make this outage again and again; None: no outages."""
        self._outage, self._planned_at_s = outage, self._loop.time()
        self._changed.set()

    def stop(self) -> None:
        """Let `run` return. A replica that is away stays away."""
        self._stopped = True
        self._changed.set()

    async def run(self) -> None:
        """Carry out outages until `stop`. Raises the errors of `go_away` and `come_back`."""
        while not self._stopped:
            self._changed.clear()
            if self._outage is not None:
                await self._run_plan(self._outage)
            else:
                await self._changed.wait()

    async def _run_plan(self, outage: Outage) -> None:
        begins_s = self._planned_at_s + outage.every_s
        while not await self._changed_before(begins_s):
            await self._go_away()
            await self._changed_before(begins_s + outage.for_ms / 1000)
            if not self._stopped:
                await self._come_back()
            begins_s += outage.every_s

    async def _changed_before(self, instant_s: float) -> bool:
        """Wait until `instant_s` and return False. Returns True as soon as `plan` or `stop` is called."""
        try:
            async with asyncio.timeout_at(instant_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True
