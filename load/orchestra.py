"""The asyncio clients of lb/, playing on a uvloop event loop in a native thread beside Locust's gevent.

Why not gevent itself: at the same rate the generator's own delays are several times larger.
"""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal, Protocol

import uvloop

from lb.client import Client, Rows
from lb.plan import NS_PER_S, Phase, closed_loop, open_loop
from load.order import LoadOrder
from load.readback import ClientChannels, read_back

State = Literal["waiting", "warm_up", "measure", "done", "stopped"]


@dataclass
class Progress:
    """Where the performance stands. Instants are ns from the cell's epoch; 0 = not yet."""

    state: State = "waiting"
    measure_start_ns: int = 0
    measure_end_ns: int = 0

    def measuring(self, start_ns: int, duration_s: float) -> None:
        """Measuring starts at `start_ns`."""
        self.measure_start_ns = start_ns
        self.measure_end_ns = start_ns + round(duration_s * NS_PER_S)
        self.state = "measure"


class Cues(Protocol):
    """Who says when a phase begins. Called on the event loop."""

    def connected(self, channels: list[ClientChannels]) -> None:
        """All clients are connected: what is in force in them, before the first call."""
        ...

    async def begin(self, phase: Phase) -> int:
        """Every call before `phase` has been answered: the instant at which it starts (monotonic ns)."""
        ...


class Orchestra:
    """Plays `clients` of one order once. `progress` and `rows` may be read from any thread at any time."""

    def __init__(self, order: LoadOrder, clients: Sequence[int], cues: Cues) -> None:
        self.progress = Progress()
        self.rows = Rows()
        self._order = order
        self._numbers = clients
        self._cues = cues
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="orchestra", daemon=True)
        self._performance: Future[None] | None = None

    def start(self) -> None:
        """Start the thread and the performance."""
        self._thread.start()
        self._performance = asyncio.run_coroutine_threadsafe(self._perform(), self._loop)

    def finished(self) -> bool:
        """Whether the performance has ended. Raises what made it fail, if anything did."""
        if self._performance is None or not self._performance.done():
            return False
        if not self._performance.cancelled():
            self._performance.result()
        return True

    def stop(self) -> None:
        """End the performance early; calls in flight get no row."""
        if self._performance is not None:
            self._performance.cancel()

    async def _perform(self) -> None:
        settings, order = self._order.settings, self._order
        clients = [Client(number, settings, self.rows) for number in self._numbers]
        try:
            await asyncio.gather(*(client.connect() for client in clients))
            self._cues.connected(read_back(self._numbers, settings.connections))
            if order.warm_up_s:
                start_ns = await self._cues.begin("warm_up")
                self.progress.state = "warm_up"
                await self._phase(clients, "warm_up", start_ns, order.warm_up_s)
            # Every call of the warm-up has been answered: what is measured starts on quiet replicas.
            start_ns = await self._cues.begin("measure")
            self.progress.measuring(start_ns - settings.epoch_ns, order.duration_s)
            await self._phase(clients, "measure", start_ns, order.duration_s)
            self.progress.state = "done"
        except asyncio.CancelledError:
            self.progress.state = "stopped"
            raise
        finally:
            await asyncio.gather(*(client.close() for client in clients))

    async def _phase(self, clients: list[Client], phase: Phase, start_ns: int, duration_s: float) -> None:
        load = self._order.load
        opens = phase == self._order.first_phase
        end_ns = start_ns + round(duration_s * NS_PER_S)
        async with asyncio.TaskGroup() as plays:
            for number, client in zip(self._numbers, clients, strict=True):
                if load.rate_per_s is None:
                    calls = closed_loop(load, number, phase)
                    plays.create_task(client.play_closed_loop(calls, start_ns, end_ns))
                else:
                    calls = open_loop(load, number, phase, duration_s, opens)
                    plays.create_task(client.play_open_loop(calls, start_ns, end_ns))
