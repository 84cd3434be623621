"""The asyncio clients of lb/, playing on a uvloop event loop in a native thread beside Locust's gevent.

Why not gevent itself: at the same rate the generator's own delays are several times larger.
"""

import asyncio
import json
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal

import uvloop

from lb.client import Client, Rows
from lb.plan import NS_PER_S, Phase, closed_loop, open_loop
from load.order import CHANNELS_FILE, LoadOrder
from load.readback import read_back

LEAD_IN_S = 0.02  # between "everybody is ready" and a phase's first planned instant
State = Literal["waiting", "warm_up", "measure", "done", "stopped"]


@dataclass
class Progress:
    """Where the performance stands. Instants are ns from the cell's epoch; 0 = not yet."""

    state: State = "waiting"
    measure_start_ns: int = 0
    measure_end_ns: int = 0


class Orchestra:
    """Plays one order once. `progress` and `rows` may be read from any thread at any time."""

    def __init__(self, order: LoadOrder) -> None:
        self.progress = Progress()
        self.rows = Rows()
        self._order = order
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
        load, settings = self._order.load, self._order.settings
        clients = [Client(number, settings, self.rows) for number in range(load.clients)]
        try:
            await asyncio.gather(*(client.connect() for client in clients))
            self._read_back()
            if self._order.warm_up_s:
                self.progress.state = "warm_up"
                await self._phase(clients, "warm_up", _soon_ns(), self._order.warm_up_s)
            # Every call of the warm-up has been answered: what is measured starts on quiet replicas.
            start_ns = _soon_ns()
            self.progress.measure_start_ns = start_ns - settings.epoch_ns
            self.progress.measure_end_ns = self.progress.measure_start_ns + round(
                self._order.duration_s * NS_PER_S
            )
            self.progress.state = "measure"
            await self._phase(clients, "measure", start_ns, self._order.duration_s)
            self.progress.state = "done"
        except asyncio.CancelledError:
            self.progress.state = "stopped"
            raise
        finally:
            await asyncio.gather(*(client.close() for client in clients))

    def _read_back(self) -> None:
        """Leave what is in force in the clients for the harness to compare with the plan."""
        found = read_back(self._order.load.clients, self._order.settings.connections)
        path = self._order.folder / CHANNELS_FILE
        path.write_text(json.dumps([vars(client) for client in found]))

    async def _phase(self, clients: list[Client], phase: Phase, start_ns: int, duration_s: float) -> None:
        load = self._order.load
        opens = phase == self._order.first_phase
        end_ns = start_ns + round(duration_s * NS_PER_S)
        async with asyncio.TaskGroup() as plays:
            for number, client in enumerate(clients):
                if load.rate_per_s is None:
                    calls = closed_loop(load, number, phase)
                    plays.create_task(client.play_closed_loop(calls, start_ns, end_ns))
                else:
                    calls = open_loop(load, number, phase, duration_s, opens)
                    plays.create_task(client.play_open_loop(calls, start_ns, end_ns))


def _soon_ns() -> int:
    return time.monotonic_ns() + round(LEAD_IN_S * NS_PER_S)
