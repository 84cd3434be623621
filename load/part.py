"""A worker's part in one cell: it plays the clients that the master deals it, and sends every row there."""

import asyncio
import socket
import time
import traceback
from dataclasses import replace
from typing import Any, NamedTuple

import gevent
import gevent.queue

from lb.plan import Phase
from load import messages
from load.bookkeeper import Bookkeeper
from load.clock_offset import SAME_CLOCK, ClockOffset, clock_name, estimate_offset, settled_offset
from load.environment import BATCH_S, SOON_S, LabEnvironment, listen_for_stop, settle
from load.forks import set_name
from load.locusts import CellWorker, connect
from load.orchestra import Orchestra
from load.order import LoadOrder
from load.readback import ClientChannels
from load.roster import channels_as_dicts
from load.rowfiles import Batch

NEXT, OVER, NO_MASTER = 20, 21, 22  # exit statuses of a worker that did as it was told
PINGS = 12


class MasterGoneError(Exception):
    """The master has fallen silent."""


class Heard(NamedTuple):
    """A message of the master's, and when it came (own monotonic clock)."""

    kind: str
    data: dict[str, Any]
    at_ns: int


class MastersCues:
    """Phases begin when the master says so. `awaits`: the phase that the clients are ready for."""

    def __init__(self) -> None:
        self.channels: list[ClientChannels] = []
        self.awaits: Phase | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._start: asyncio.Future[int] | None = None

    def connected(self, channels: list[ClientChannels]) -> None:
        """See Cues."""
        self.channels = channels

    async def begin(self, phase: Phase) -> int:
        """See Cues."""
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.create_future()
        self.awaits = phase
        return await self._start

    def start(self, start_ns: int) -> None:
        """Let the awaited phase start at that instant (monotonic ns); to be called from another thread."""
        assert self._loop is not None
        assert self._start is not None
        start = self._start
        self.awaits = None
        self._loop.call_soon_threadsafe(_settle, start, start_ns)


def _in_words(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def _settle(start: asyncio.Future[int], start_ns: int) -> None:
    if not start.done():  # cancelled: the performance is to end
        start.set_result(start_ns)


def play_part(host: str, port: int, patience_s: float, name: str | None = None) -> int:
    """Play one cell for the master at `host`:`port`; NEXT, OVER or NO_MASTER (none within `patience_s`).

    `name`: of a worker of the master's own, which shares its clock. Raises what makes the playing fail.
    """
    settle()
    environment = LabEnvironment("")
    runner = connect(environment, host, port, patience_s)
    if runner is None:
        return NO_MASTER
    try:
        return OVER if Part(environment, runner, name).play() else NEXT
    except MasterGoneError:
        return NEXT


class Part:
    """One worker's dealings with its master, from hello to bye."""

    def __init__(self, environment: Any, runner: CellWorker, name: str | None) -> None:
        self._environment = environment
        self._runner = runner
        self._name = name
        self._heard_s = time.monotonic()
        self._inbox: gevent.queue.Queue = gevent.queue.Queue()
        self._sent_rows = 0
        self._ready: Phase | None = None
        self._bye: Heard | None = None
        self._offset = SAME_CLOCK
        for kind in messages.TO_WORKER:
            runner.register_message(kind, self._hear)
        environment.events.heartbeat_received.add_listener(self._hear_heartbeat)
        listen_for_stop(environment, lambda: self._inbox.put(Heard(messages.STOP, {}, 0)))

    def play(self) -> bool:
        """Play the part; whether it was the last one of the run."""
        if self._name is None:
            self._offset = self._synchronise()
        self._send(
            messages.HELLO,
            name=self._name,
            host=socket.gethostname(),
            code=messages.code_digest(),
            offset_ns=self._offset.offset_ns,
            uncertainty_ns=self._offset.uncertainty_ns,
        )
        heard = self._await(messages.ORDER, messages.BYE, messages.STOP)
        if heard.kind == messages.ORDER:
            set_name(heard.data["name"])
            self._play(LoadOrder.of_dict(heard.data["order"]), heard.data["clients"])
        bye = self._bye or self._await(messages.BYE)
        return bool(bye.data["last"])

    def _synchronise(self) -> ClockOffset:
        trips = []
        for _ in range(PINGS):
            self._send(messages.PING, sent_ns=time.monotonic_ns())
            pong = self._await(messages.PONG)
            trips.append((pong.data["sent_ns"], pong.data["master_ns"], pong.at_ns))
        return settled_offset(estimate_offset(trips), clock_name(), pong.data["clock"])

    def _play(self, order: LoadOrder, clients: list[int]) -> None:
        # Rows count from the master's epoch, told on the clock of this machine.
        epoch_ns = order.settings.epoch_ns - self._offset.offset_ns
        order = replace(order, settings=replace(order.settings, epoch_ns=epoch_ns))
        cues = MastersCues()
        orchestra = Orchestra(order, clients, cues)
        bookkeeper = Bookkeeper(self._environment, orchestra.rows, self._send_rows)
        try:
            orchestra.start()
            while not orchestra.finished():
                measuring = orchestra.progress.state == "measure"
                self._obey(self._next(BATCH_S if measuring else SOON_S), orchestra, cues)
                self._tell_ready(cues)
                bookkeeper.batch(orchestra.progress)
        except Exception as error:
            traceback.print_exc()  # here: the master may end this process as soon as it knows
            self._send(messages.FAILED, error=_in_words(error))
            self._await(messages.BYE)
            raise
        bookkeeper.batch(orchestra.progress)
        self._environment.performance_ended.set()
        self._send(messages.ENDED, state=orchestra.progress.state, rows=self._sent_rows)

    def _obey(self, heard: Heard | None, orchestra: Orchestra, cues: MastersCues) -> None:
        if heard is None:
            return
        if heard.kind == messages.START:
            cues.start(heard.data["start_ns"] - self._offset.offset_ns)
        elif heard.kind in (messages.STOP, messages.BYE):
            orchestra.stop()

    def _tell_ready(self, cues: MastersCues) -> None:
        if cues.awaits is None or cues.awaits == self._ready:
            return
        self._ready = cues.awaits
        self._send(messages.READY, phase=self._ready, channels=channels_as_dicts(cues.channels))
        cues.channels = []

    def _send_rows(self, batch: Batch) -> None:
        self._sent_rows += batch.rows
        self._send(messages.ROWS, **batch._asdict())

    def _send(self, kind: str, **data: object) -> None:
        self._runner.send_message(kind, data)

    def _hear(self, environment: object, msg: Any) -> None:  # noqa: ARG002 - Locust calls it so
        self._heard_s = time.monotonic()
        self._inbox.put(Heard(msg.type, msg.data, time.monotonic_ns()))

    def _hear_heartbeat(self, **_: object) -> None:
        self._heard_s = time.monotonic()

    def _next(self, timeout_s: float) -> Heard | None:
        """The next message, None where there is none in time. Raises MasterGoneError."""
        try:
            heard: Heard = self._inbox.get(timeout=timeout_s)
        except gevent.queue.Empty:
            if time.monotonic() > self._heard_s + messages.SILENCE_S:
                raise MasterGoneError from None
            return None
        if heard.kind == messages.BYE:
            self._bye = heard
        return heard

    def _await(self, *kinds: str) -> Heard:
        while True:
            heard = self._next(BATCH_S)
            if heard is not None and heard.kind in kinds:
                return heard
