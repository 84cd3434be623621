"""One worker's session with its master, for one cell: it runs its clients and sends the master every row."""

import asyncio
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import gevent
import gevent.queue

from lb.client import Rows
from lb.plan import Phase
from load import protocol
from load.channelz import ClientChannels
from load.clock_offset import SAME_CLOCK, ClockOffset, clock_name, estimate_offset, settled_offset
from load.engine import LoadEngine, Progress, prepare_process
from load.forks import set_process_name
from load.locust_adapter import LabEnvironment, LabWorkerRunner, connect_to_master, listen_for_stop
from load.order import LoadOrder
from load.row_batches import (
    BATCH_INTERVAL_S,
    POLL_INTERVAL_S,
    EndingLoad,
    RowBatch,
    RowCollector,
    awake_at_end,
)

CELL_ENDED, RUN_ENDED, NO_MASTER = 20, 21, 22  # exit statuses of a worker process that did not fail
PINGS = 12
# The kinds of the messages that this process sends itself: on SIGTERM, and once its load has finished.
SIGNALLED, FINISHED = "signalled", "finished"


class MasterLostError(Exception):
    """The master has sent nothing for protocol.SILENCE_TIMEOUT_S."""


class MasterMessage(NamedTuple):
    """A message of the master. `received_ns`: when it arrived, on this machine's monotonic clock."""

    kind: str
    data: dict[str, Any]
    received_ns: int


class SessionGate(Protocol):
    """Where a load waits for the start of a phase until the master says so.

    `waiting_for`: the phase whose start the clients wait for. `channels`: not yet sent to the master.
    """

    channels: list[ClientChannels]
    waiting_for: Phase | None

    def open(self, start_ns: int) -> None:
        """Start the phase at `start_ns` (monotonic ns)."""
        ...


class SessionLoad(EndingLoad, Protocol):
    """A load as a worker runs it; see load.engine.LoadEngine, which is one."""

    progress: Progress
    rows: Rows

    def start(self) -> None: ...

    def finished(self) -> bool: ...

    def stop(self) -> None: ...


# Makes the load of an order, for the clients with these numbers, and the gate at which it waits.
MakeLoad = Callable[[LoadOrder, list[int]], tuple[SessionLoad, SessionGate]]


class MasterGate:
    """A PhaseGate that starts each phase when the master says so, and a SessionGate."""

    def __init__(self) -> None:
        self.channels: list[ClientChannels] = []
        self.waiting_for: Phase | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._start: asyncio.Future[int] | None = None

    def clients_connected(self, channels: list[ClientChannels]) -> None:
        """See PhaseGate."""
        self.channels = channels

    async def wait_for_start(self, phase: Phase) -> int:
        """See PhaseGate."""
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.create_future()
        self.waiting_for = phase
        return await self._start

    def open(self, start_ns: int) -> None:
        """Start the phase at `start_ns` (monotonic ns). Call it from another thread than the event loop's."""
        assert self._loop is not None
        assert self._start is not None
        start = self._start
        self.waiting_for = None
        self._loop.call_soon_threadsafe(_set_start, start, start_ns)


def _set_start(start: asyncio.Future[int], start_ns: int) -> None:
    if not start.done():  # it is cancelled when the run has to end
        start.set_result(start_ns)


def _describe(error: BaseException) -> str:
    """Return "type: message" of an error; of a group of errors, that of the first one."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def _of_the_lab(order: LoadOrder, clients: list[int]) -> tuple[LoadEngine, MasterGate]:
    gate = MasterGate()
    return LoadEngine(order, clients, gate), gate


def run_session(
    host: str,
    port: int,
    secret: str,
    timeout_s: float,
    name: str | None = None,
    make_load: MakeLoad = _of_the_lab,
) -> int:
    """Run clients for the master at `host`:`port` for one cell; return CELL_ENDED, RUN_ENDED or NO_MASTER.

    NO_MASTER: no master that knows `secret` answered within `timeout_s` seconds. `name`: given to a worker
    that the master forked, which reads the same clock. Raises the error with which the load engine failed.
    """
    prepare_process()
    environment = LabEnvironment("")
    runner = connect_to_master(environment, host, port, secret, timeout_s)
    if runner is None:
        return NO_MASTER
    try:
        return RUN_ENDED if WorkerSession(environment, runner, name, make_load).run() else CELL_ENDED
    except MasterLostError:
        return CELL_ENDED


class WorkerSession:
    """The exchange of messages with the master, from HELLO to BYE."""

    def __init__(
        self, environment: Any, runner: LabWorkerRunner, name: str | None, make_load: MakeLoad
    ) -> None:
        self._environment = environment
        self._runner = runner
        self._name = name
        self._make_load = make_load
        self._last_message_s = time.monotonic()
        self._inbox: gevent.queue.Queue = gevent.queue.Queue()
        self._sent_rows = 0
        self._ready: Phase | None = None
        self._bye: MasterMessage | None = None
        self._offset = SAME_CLOCK
        for kind in protocol.TO_WORKER:
            runner.register_message(kind, self._receive)
        environment.events.heartbeat_received.add_listener(self._receive_heartbeat)
        listen_for_stop(lambda: self._tell_myself(SIGNALLED))

    def run(self) -> bool:
        """Run the session and return whether it was the last one of the run."""
        if self._name is None:
            self._offset = self._measure_offset()
        self._send(
            protocol.HELLO,
            name=self._name,
            host=socket.gethostname(),
            code=protocol.code_digest(),
            offset_ns=self._offset.offset_ns,
            uncertainty_ns=self._offset.uncertainty_ns,
        )
        message = self._wait_for(protocol.ORDER, protocol.BYE, protocol.STOP, SIGNALLED)
        if message.kind == protocol.ORDER:
            set_process_name(message.data["name"])
            self._run_load(LoadOrder.from_dict(message.data["order"]), message.data["clients"])
        elif message.kind == SIGNALLED:
            # Without this the master would wait for a worker that never gets ready.
            self._send(protocol.FAILED, error="SIGTERM before it began")
        bye = self._bye or self._wait_for(protocol.BYE)
        return bool(bye.data["last"])

    def _measure_offset(self) -> ClockOffset:
        round_trips = []
        for _ in range(PINGS):
            self._send(protocol.PING, sent_ns=time.monotonic_ns())
            pong = self._wait_for(protocol.PONG)
            round_trips.append((pong.data["sent_ns"], pong.data["master_ns"], pong.received_ns))
        return settled_offset(estimate_offset(round_trips), clock_name(), pong.data["clock"])

    def _run_load(self, order: LoadOrder, clients: list[int]) -> None:
        # Rows count from the master's epoch. Here it is translated to this machine's clock.
        epoch_ns = order.settings.epoch_ns - self._offset.offset_ns
        order = replace(order, settings=replace(order.settings, epoch_ns=epoch_ns))
        try:
            load, gate = self._make_load(order, clients)
            collector = RowCollector(self._environment, load.rows, self._send_rows)
            load.start()
            with awake_at_end(load, lambda: self._tell_myself(FINISHED)):
                while not load.finished():
                    measuring = load.progress.state == "measure"
                    message = self._next_message(BATCH_INTERVAL_S if measuring else POLL_INTERVAL_S)
                    self._handle(message, load, gate)
                    self._report_ready(gate)
                    collector.collect(load.progress)
        except Exception as error:
            # Printed before FAILED is sent: the master may then end this process at once.
            traceback.print_exc()
            self._send(protocol.FAILED, error=_describe(error))
            self._wait_for(protocol.BYE)
            raise
        collector.collect(load.progress)
        self._environment.run_ended.set()
        self._send(protocol.ENDED, state=load.progress.state, rows=self._sent_rows)

    def _handle(self, message: MasterMessage | None, load: SessionLoad, gate: SessionGate) -> None:
        if message is None:
            return
        if message.kind == protocol.START:
            gate.open(message.data["start_ns"] - self._offset.offset_ns)
        elif message.kind in (protocol.STOP, protocol.BYE, SIGNALLED):
            load.stop()

    def _report_ready(self, gate: SessionGate) -> None:
        """Tell the master once for each phase that the clients are ready for it."""
        if gate.waiting_for is None or gate.waiting_for == self._ready:
            return
        self._ready = gate.waiting_for
        channels = [vars(client) for client in gate.channels]
        self._send(protocol.READY, phase=self._ready, channels=channels)
        gate.channels = []

    def _send_rows(self, batch: RowBatch) -> None:
        self._sent_rows += batch.rows
        self._send(protocol.ROWS, **batch._asdict())

    def _send(self, kind: str, **data: object) -> None:
        self._runner.send_message(kind, data)

    def _tell_myself(self, kind: str) -> None:
        self._inbox.put(MasterMessage(kind, {}, 0))

    def _receive(self, environment: object, msg: Any) -> None:  # noqa: ARG002 - Locust's signature
        self._last_message_s = time.monotonic()
        self._inbox.put(MasterMessage(msg.type, msg.data, time.monotonic_ns()))

    def _receive_heartbeat(self, **_: object) -> None:
        self._last_message_s = time.monotonic()

    def _next_message(self, timeout_s: float) -> MasterMessage | None:
        """Return the next message, or None after `timeout_s` seconds. Raises MasterLostError."""
        try:
            message: MasterMessage = self._inbox.get(timeout=timeout_s)
        except gevent.queue.Empty:
            if time.monotonic() > self._last_message_s + protocol.SILENCE_TIMEOUT_S:
                raise MasterLostError from None
            return None
        if message.kind == protocol.BYE:
            self._bye = message
        return message

    def _wait_for(self, *kinds: str) -> MasterMessage:
        """Return the next message of one of these kinds. Others are dropped. Raises MasterLostError."""
        while True:
            message = self._next_message(BATCH_INTERVAL_S)
            if message is not None and message.kind in kinds:
                return message
