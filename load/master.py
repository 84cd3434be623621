"""The master of several load processes: it deals the clients, names the starts, and keeps every row.

Locust's master and workers do the talking (ZeroMQ) and the statistics; what is said besides is in
load.messages.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import gevent
import gevent.event

from lb.plan import NS_PER_S, Phase
from load import messages
from load.clock_offset import ClockOffset, clock_name
from load.dispatcher import DealtDispatcher
from load.environment import BATCH_S, SOON_S, LabEnvironment, listen_for_stop, settle
from load.forks import Fork, PortFork
from load.locusts import CellMaster
from load.orchestra import Progress
from load.order import AWAIT_WORKERS_S, CHANNELS_FILE, STOPPED_EARLY, WORKERS_FILE, LoadOrder, LoadStatus
from load.part import play_part
from load.roster import LoadWorker, deal
from load.rowfiles import Batch, RowFiles

LEAD_IN_S = 0.1  # between the word that names a phase's start and that start
OWN_WORKERS_S = 30.0  # until the master's own workers have come
STOP_S = 0.6  # for the last rows of those that are told to stop; the harness waits for a second
ANYWHERE = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what the user may bind to


class LoadError(Exception):
    """The load cannot be made; the text says why."""


class StoppedError(Exception):
    """The load is to end early."""


def conduct(order: LoadOrder) -> int:
    """Have the order's workers play it; the exit status. Raises LoadError, told in the status file, too."""
    host = ANYWHERE.get(order.master_bind_host, order.master_bind_host)

    def own(name: str) -> PortFork:
        return PortFork(name, lambda port: play_part(host, port, OWN_WORKERS_S, name))

    forks = [own(f"load-worker-{number}") for number in range(order.processes)]
    settle()
    try:
        conducting = Conducting(order, [one.fork for one in forks])
        for one in forks:
            one.tell_port(conducting.port)
        return conducting.run()
    except LoadError as error:
        LoadStatus(state="failed", error=str(error)).write(order.folder)
        raise
    finally:
        for one in forks:
            one.fork.kill()


class Conducting:
    """One order, from the first worker's hello to the last one's bye."""

    def __init__(self, order: LoadOrder, forks: list[Fork]) -> None:
        self._order = order
        self._forks = {own.name: own for own in forks}
        self._workers: dict[str, LoadWorker] = {}
        self._error: str | None = None
        self._stop = gevent.event.Event()
        self._files = RowFiles(order.folder)
        self._progress = Progress()
        self._environment: Any = LabEnvironment(order.settings.target, dispatcher_class=self._dispatcher)
        # On loopback a free port, so that two runs at once do not meet.
        port = order.master_bind_port if order.expect_workers else 0
        self._runner = CellMaster(self._environment, order.master_bind_host, port)
        self._environment.runner = self._runner
        for kind in messages.TO_MASTER:
            self._runner.register_message(kind, self._take)
        listen_for_stop(self._environment, self._stop.set)

    @property
    def port(self) -> int:
        """Where the workers find the master."""
        return self._runner.port

    def run(self) -> int:
        """Conduct; the exit status. Raises LoadError."""
        self._environment.open_web_page(self._order.web_port)
        try:
            self._gather()
            self._play()
            self._progress.state = "done"
        except StoppedError:
            self._stop_early()
            self._progress.state = "stopped"
        finally:
            self._files.tell(self._progress)
            self._record()
            self._bye()
            self._files.close()
            self._environment.close_web_page()
        return 0 if self._progress.state == "done" else STOPPED_EARLY

    def _gather(self) -> None:
        """Wait for every worker, and deal the clients."""
        order = self._order
        wanted = order.processes + order.expect_workers
        patience_s = AWAIT_WORKERS_S if order.expect_workers else OWN_WORKERS_S
        if not self._until(lambda: len(self._workers) == wanted, SOON_S, patience_s):
            came = sum(worker.name not in self._forks for worker in self._workers.values())
            raise LoadError(
                f"{came} of {order.expect_workers} expected load workers came within {patience_s:g} s"
                if order.expect_workers
                else f"{len(self._workers)} of {wanted} load processes were ready within {patience_s:g} s"
            )
        self._runner.is_open = False
        workers = self._by_name()
        deal(order, workers)
        self._record()
        for worker in workers:
            self._send(
                worker, messages.ORDER, name=worker.name, order=order.as_dict(), clients=worker.clients
            )
        gevent.spawn(self._runner.start, order.load.clients, spawn_rate=1)

    def _play(self) -> None:
        order = self._order
        if order.warm_up_s:
            self._begin("warm_up")
        start_ns = self._begin("measure")
        self._progress.measuring(start_ns - order.settings.epoch_ns, order.duration_s)
        self._files.tell(self._progress)
        self._until(lambda: not self._playing(), BATCH_S)

    def _begin(self, phase: Phase) -> int:
        """Name the start of `phase` as soon as all are ready for it; the start, monotonic ns."""
        self._until(lambda: all(worker.ready == phase for worker in self._playing()), SOON_S)
        if phase == self._order.first_phase:
            channels = [one for worker in self._playing() for one in worker.records_of_channels()]
            channels.sort(key=lambda one: int(one["client"]))
            (self._order.folder / CHANNELS_FILE).write_text(json.dumps(channels))
        slowest_ns = max(worker.offset.uncertainty_ns for worker in self._playing())
        start_ns = time.monotonic_ns() + round(LEAD_IN_S * NS_PER_S) + 4 * slowest_ns
        for worker in self._playing():
            self._send(worker, messages.START, phase=phase, start_ns=start_ns)
        if phase == "warm_up":
            self._progress.state = "warm_up"
            self._files.tell(self._progress)
        return start_ns

    def _by_name(self) -> list[LoadWorker]:
        return sorted(self._workers.values(), key=lambda worker: (len(worker.name), worker.name))

    def _playing(self) -> list[LoadWorker]:
        return [worker for worker in self._workers.values() if worker.plays]

    def _until(self, reached: Callable[[], bool], look_s: float, patience_s: float | None = None) -> bool:
        """Look until it is so; False where that takes longer than `patience_s`.

        Raises StoppedError once the load is to end, LoadError when a worker fails or none is left.
        """
        deadline_s = time.monotonic() + (patience_s or float("inf"))
        while not reached():
            if self._stop.wait(look_s):
                raise StoppedError
            if self._error is not None:
                raise LoadError(self._error)
            self._look_for_lost()
            self._files.tell(self._progress)
            if time.monotonic() > deadline_s:
                return False
        return True

    def _look_for_lost(self) -> None:
        came = {worker.name for worker in self._workers.values()}
        for own in self._forks.values():
            if not own.look() and own.name not in came:
                raise LoadError(f"{own.name} died before it began")
        silent_s = time.monotonic() - messages.SILENCE_S
        for worker in self._playing():
            own_fork = self._forks.get(worker.name)
            if self._runner.heard_s[worker.key] < silent_s or (own_fork is not None and not own_fork.alive):
                self._end(worker, "lost")
        if came and not any(worker.ended != "lost" for worker in self._workers.values()):
            raise LoadError("every load worker has died")

    def _end(self, worker: LoadWorker, how: Any) -> None:
        worker.ended, worker.ended_ns = how, time.monotonic_ns() - self._order.settings.epoch_ns
        if how == "lost":
            self._runner.show_lost(worker.key)
        self._record()

    def _stop_early(self) -> None:
        """Let everybody stop, and take their last rows."""
        for worker in self._playing():
            self._send(worker, messages.STOP)
        deadline_s = time.monotonic() + STOP_S
        while self._playing() and time.monotonic() < deadline_s:
            gevent.sleep(SOON_S)

    def _bye(self) -> None:
        last = self._order.last or self._progress.state != "done"
        for worker in self._workers.values():
            self._send(worker, messages.BYE, last=last)
        self._runner.leave()

    def _record(self) -> None:
        path = self._order.folder / WORKERS_FILE
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps([worker.record() for worker in self._by_name()]))
        temporary.replace(path)

    def _send(self, worker: LoadWorker, kind: str, **data: object) -> None:
        self._runner.send_message(kind, data, worker.key)

    def _take(self, environment: object, msg: Any) -> None:  # noqa: ARG002 - Locust calls it so
        """Take one word of a worker's."""
        key, data = msg.node_id, msg.data
        if msg.type == messages.PING:
            answer = {"sent_ns": data["sent_ns"], "master_ns": time.monotonic_ns(), "clock": clock_name()}
            self._runner.send_message(messages.PONG, answer, key)
        elif msg.type == messages.HELLO:
            self._welcome(key, data)
        elif key in self._workers:
            self._take_from(self._workers[key], msg.type, data)

    def _welcome(self, key: str, data: dict[str, Any]) -> None:
        order = self._order
        number = order.processes + sum(worker.name not in self._forks for worker in self._workers.values())
        name = data["name"] or f"load-worker-{number}"
        if data["code"] != messages.code_digest():
            self._error = f"the load worker on {data['host']} has another version of the lab"
        elif name not in self._forks and number >= order.processes + order.expect_workers:
            self._runner.send_message(messages.BYE, {"last": False}, key)
        else:
            offset = ClockOffset(data["offset_ns"], data["uncertainty_ns"])
            self._workers[key] = LoadWorker(name, key, data["host"], offset)

    def _take_from(self, worker: LoadWorker, kind: str, data: dict[str, Any]) -> None:
        if kind == messages.READY:
            worker.ready = data["phase"]
            worker.channels += data["channels"]
        elif kind == messages.ROWS:
            self._files.put(Batch(**data))
            worker.rows += data["rows"]
            worker.measured += data["measured"]
        elif kind == messages.ENDED:
            self._ended(worker, data)
        elif kind == messages.FAILED:
            self._error = f"{worker.name} failed: {data['error']}"

    def _ended(self, worker: LoadWorker, data: dict[str, Any]) -> None:
        """It says that it has ended: with its part, as it was told to, or unasked."""
        whole = data["rows"] == worker.rows
        if data["state"] == "done" and whole:
            self._end(worker, "done")
        elif self._stop.is_set() and whole:
            self._end(worker, "stopped")
        else:
            self._end(worker, "lost")
            self._send(worker, messages.BYE, last=True)

    def _dispatcher(self, worker_nodes: object, user_classes: object) -> DealtDispatcher:  # noqa: ARG002
        return DealtDispatcher({worker.key: len(worker.clients) for worker in self._workers.values()})
