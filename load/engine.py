"""The load engine: it runs the asyncio clients of lb/ on a uvloop event loop in a thread of their own.

Locust's gevent runs in the main thread. The clients do not use gevent, because at the same rate a gevent
generator sends several times later than planned: docs/decisions/0001-asyncio-clients-under-locust.md.
"""

import asyncio
import gc
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import uvloop

from lb.client import Client, Rows
from lb.plan import NS_PER_S, Phase, closed_loop, open_loop
from lb.rows import CLOSED_LOOP_MEASURED
from load.channelz import ClientChannels, read_client_channels
from load.order import LoadOrder

State = Literal["waiting", "warm_up", "measure", "done", "stopped"]

# Locust's thread holds the interpreter for milliseconds while it handles a batch of rows. The event loop asks
# for the interpreter after this time; Python's default is 5 ms.
SWITCH_INTERVAL_S = 0.0005
# Calls leave hardly any garbage that only the collector can free. Python's default is 700 new objects.
COLLECT_AFTER_OBJECTS = 20_000


def prepare_process() -> None:
    """Set up the interpreter for exact timing. Call it once in each process, before the load starts."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
    gc.freeze()  # objects of the start-up live on; without them each collection is shorter


# Without this limit several hundred clients ask the name server at once, more than the buffer of a UDP socket
# holds. gRPC asks again after seconds only.
CONNECTING = 100


class Connecting(Protocol):
    """What can be connected: a client."""

    async def connect(self) -> None: ...  # returns when all channels are connected


async def connect_all(clients: Sequence[Connecting]) -> None:
    """Connect the clients, at most CONNECTING of them at the same time."""
    turns = asyncio.Semaphore(CONNECTING)

    async def connect(client: Connecting) -> None:
        async with turns:
            await client.connect()

    await asyncio.gather(*map(connect, clients))


@dataclass
class Progress:
    """How far the load has come. Instants are nanoseconds from the cell's epoch; 0 means not yet known."""

    state: State = "waiting"
    measure_start_ns: int = 0
    measure_end_ns: int = 0

    def start_measuring(self, start_ns: int, duration_s: float) -> None:
        """Set the state to "measure" and the window to `duration_s` seconds from `start_ns`."""
        self.measure_start_ns = start_ns
        self.measure_end_ns = start_ns + round(duration_s * NS_PER_S)
        self.state = "measure"


class PhaseGate(Protocol):
    """Decides when each phase starts. The load engine calls it on its event loop."""

    def clients_connected(self, channels: list[ClientChannels]) -> None:
        """Take the channels of all clients. Called once, when they are connected, before the first call."""
        ...

    async def wait_for_start(self, phase: Phase) -> int:
        """Return the instant at which `phase` starts (monotonic ns). All earlier calls have ended by now."""
        ...


class LoadEngine:
    """Runs the clients with the numbers `clients` through the phases of one order, once.

    Any thread may read `progress` and `rows` at any time.
    """

    def __init__(self, order: LoadOrder, clients: Sequence[int], gate: PhaseGate) -> None:
        self.progress = Progress()
        self.rows = Rows()
        self._order = order
        self._numbers = clients
        self._gate = gate
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="load-engine", daemon=True)
        self._run: Future[None] | None = None

    def start(self) -> None:
        """Start the thread and the run."""
        self._thread.start()
        self._run = asyncio.run_coroutine_threadsafe(self._run_phases(), self._loop)

    def finished(self) -> bool:
        """Return whether the run has ended. Raises the error with which it failed."""
        if self._run is None or not self._run.done():
            return False
        if not self._run.cancelled():
            self._run.result()
        return True

    def call_at_end(self, ended: Callable[[], object]) -> None:
        """Have `ended` called, in the engine's thread or in this one, once the run has ended."""
        assert self._run is not None
        self._run.add_done_callback(lambda _run: ended())

    def stop(self) -> None:
        """End the run early. Calls that are still open get no row."""
        if self._run is not None:
            self._run.cancel()

    async def _run_phases(self) -> None:
        order = self._order
        settings = replace(order.settings, draw=order.load.draw)
        clients = [Client(number, settings, self.rows) for number in self._numbers]
        try:
            await connect_all(clients)
            gc.freeze()  # a thousand clients would make each collection longer
            self._gate.clients_connected(read_client_channels(self._numbers, len(settings.channel_targets)))
            if order.warm_up_s:
                start_ns = await self._gate.wait_for_start("warm_up")
                self.progress.state = "warm_up"
                await self._run_phase(clients, "warm_up", start_ns, order.warm_up_s)
            # All calls of the warm-up have ended, so the replicas are idle when measuring starts.
            start_ns = await self._gate.wait_for_start("measure")
            self.progress.start_measuring(start_ns - settings.epoch_ns, order.duration_s)
            await self._run_phase(clients, "measure", start_ns, order.duration_s)
            self.progress.state = "done"
        except asyncio.CancelledError:
            self.progress.state = "stopped"
            raise
        finally:
            await asyncio.gather(*(client.close() for client in clients))

    async def _run_phase(self, clients: list[Client], phase: Phase, start_ns: int, duration_s: float) -> None:
        load = self._order.load
        opens = phase == self._order.first_phase
        end_ns = start_ns + round(duration_s * NS_PER_S)
        async with asyncio.TaskGroup() as tasks:
            for number, client in zip(self._numbers, clients, strict=True):
                if load.rate_per_s is None:
                    calls = closed_loop(load, number, phase)
                    first_number = CLOSED_LOOP_MEASURED if phase == "measure" else 0
                    tasks.create_task(client.run_closed_loop(calls, start_ns, end_ns, first_number))
                else:
                    calls = open_loop(load, number, phase, duration_s, opens)
                    tasks.create_task(client.run_open_loop(calls, start_ns, end_ns))
