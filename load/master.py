"""The master of several load processes: it assigns the clients, starts the phases, and writes all rows.

Locust's master and workers carry the messages (ZeroMQ) and the statistics. load.protocol lists the messages
that the lab adds. Only a process that knows the run's secret can send any: load.encrypted_sockets.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import gevent
import gevent.event

from lb.plan import NS_PER_S, Phase
from load import protocol
from load.clock_offset import ClockOffset, clock_name
from load.engine import Progress, prepare_process
from load.forks import Fork, PortFork
from load.locust_adapter import FixedDispatcher, LabEnvironment, LabMasterRunner, listen_for_stop
from load.order import (
    CHANNELS_FILE,
    EXPECTED_WORKERS_TIMEOUT_S,
    LOCAL_WORKERS_TIMEOUT_S,
    STOPPED_EARLY,
    WORKERS_FILE,
    LoadOrder,
    LoadStatus,
)
from load.row_batches import BATCH_INTERVAL_S, POLL_INTERVAL_S, RowBatch, RowFiles
from load.secret import SECRET_VARIABLE, SecretError, new_secret, read_secret
from load.worker_session import run_session
from load.worker_state import Ended, WorkerState, assign_clients

START_DELAY_S = 0.1  # from the START message to the start of the phase
STOP_TIMEOUT_S = 0.6  # for the last rows of stopped workers; the harness waits for one second
# Address that the master listens on -> address at which its own workers reach it.
LOOPBACK_OF = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - users may choose it


class LoadError(Exception):
    """The load failed; the text says why."""


class StoppedError(Exception):
    """The load is to end early."""


def run_master(order: LoadOrder) -> int:
    """Carry out the order with several workers and return the exit status.

    Raises LoadError when the load fails. The status file then holds the reason.
    """
    forks: list[PortFork] = []
    try:
        secret = _secret(order)
        forks += [fork_worker(order, secret, f"load-worker-{number}") for number in range(order.processes)]
        prepare_process()
        master = Master(order, secret, [worker.fork for worker in forks])
        for worker in forks:
            worker.send_port(master.port)
        return master.run()
    except LoadError as error:
        LoadStatus(state="failed", error=str(error)).write(order.folder)
        raise
    finally:
        for worker in forks:
            worker.fork.kill()


def _secret(order: LoadOrder) -> str:
    """Return the secret of the run; without workers from elsewhere, one that only this process knows."""
    if not order.expect_workers:
        return new_secret()
    try:
        return read_secret(order.secret_file)
    except SecretError as error:
        raise LoadError(str(error)) from error


def fork_worker(order: LoadOrder, secret: str, name: str) -> PortFork:
    """Return the fork of a worker of this machine. It starts when it gets the master's port."""
    host = LOOPBACK_OF.get(order.master_bind_host, order.master_bind_host)
    if order.locustfile is not None:
        # Locust's gevent changes the standard library of a process, and must do so first of all.
        words = [sys.executable, "-m", "load.own_locustfile", host]
        environment = {**os.environ, SECRET_VARIABLE: secret}
        return PortFork(name, lambda port: os.execve(words[0], [*words, str(port), name], environment))  # noqa: S606
    return PortFork(name, lambda port: run_session(host, port, secret, LOCAL_WORKERS_TIMEOUT_S, name))


class Master:
    """Carries out one order with the workers that join. `forks`: the workers that this process has forked."""

    def __init__(self, order: LoadOrder, secret: str, forks: list[Fork]) -> None:
        self._order = order
        self._forks = {fork.name: fork for fork in forks}
        self._workers: dict[str, WorkerState] = {}
        self._error: str | None = None
        self._stop = gevent.event.Event()
        self._files = RowFiles(order.folder)
        self._progress = Progress()
        self._environment: Any = LabEnvironment(order.title, dispatcher_class=self._dispatcher)
        # Without workers from elsewhere the kernel picks a free port, so two runs never use the same one.
        port = order.master_bind_port if order.expect_workers else 0
        self._runner = LabMasterRunner(self._environment, order.master_bind_host, port, secret)
        self._environment.runner = self._runner
        for kind in protocol.TO_MASTER:
            self._runner.register_message(kind, self._receive)
        listen_for_stop(self._stop.set)

    @property
    def port(self) -> int:
        """The TCP port on which the master listens."""
        return self._runner.port

    def run(self) -> int:
        """Carry out the order and return the exit status. Raises LoadError."""
        self._environment.open_web_page(self._order.web_port)
        try:
            self._wait_for_workers()
            self._run_phases()
            if self._order.locustfile is not None and not any(one.measured for one in self._workers.values()):
                raise LoadError(self._order.no_call)
            self._progress.state = "done"
        except StoppedError:
            self._stop_workers()
            self._progress.state = "stopped"
        finally:
            self._files.write_status(self._progress)
            self._write_workers_file()
            self._dismiss_workers()
            self._files.close()
            self._environment.close_web_page()
        return 0 if self._progress.state == "done" else STOPPED_EARLY

    def _wait_for_workers(self) -> None:
        """Wait until every worker has joined, and send each one its clients."""
        order = self._order
        wanted = order.processes + order.expect_workers
        timeout_s = EXPECTED_WORKERS_TIMEOUT_S if order.expect_workers else LOCAL_WORKERS_TIMEOUT_S
        if not self._wait_until(lambda: len(self._workers) == wanted, POLL_INTERVAL_S, timeout_s):
            came = sum(worker.name not in self._forks for worker in self._workers.values())
            raise LoadError(
                f"{came} of {order.expect_workers} expected load workers came within {timeout_s:g} s; one "
                "with another secret cannot join"
                if order.expect_workers
                else f"{len(self._workers)} of {wanted} load processes were ready within {timeout_s:g} s"
            )
        self._runner.accepts_workers = False
        workers = self._workers_by_name()
        assign_clients(order, workers)
        self._write_workers_file()
        for worker in workers:
            self._send(
                worker, protocol.ORDER, name=worker.name, order=order.as_dict(), clients=worker.clients
            )
        gevent.spawn(self._runner.start, order.load.clients, spawn_rate=1)

    def _run_phases(self) -> None:
        order = self._order
        if order.warm_up_s:
            self._start_phase("warm_up")
        start_ns = self._start_phase("measure")
        self._progress.start_measuring(start_ns - order.settings.epoch_ns, order.duration_s)
        self._files.write_status(self._progress)
        self._wait_until(lambda: not self._active_workers(), BATCH_INTERVAL_S)

    def _start_phase(self, phase: Phase) -> int:
        """Wait until all workers are ready for `phase`, send them its start, and return it (monotonic ns)."""
        self._wait_until(
            lambda: all(worker.ready == phase for worker in self._active_workers()), POLL_INTERVAL_S
        )
        if phase == self._order.first_phase:
            channels = [record for worker in self._active_workers() for record in worker.channel_records()]
            channels.sort(key=lambda record: int(record["client"]))
            (self._order.folder / CHANNELS_FILE).write_text(json.dumps(channels))
        uncertainty_ns = max(worker.offset.uncertainty_ns for worker in self._active_workers())
        start_ns = time.monotonic_ns() + round(START_DELAY_S * NS_PER_S) + 4 * uncertainty_ns
        for worker in self._active_workers():
            self._send(worker, protocol.START, phase=phase, start_ns=start_ns)
        if phase == "warm_up":
            self._progress.state = "warm_up"
            self._files.write_status(self._progress)
        return start_ns

    def _workers_by_name(self) -> list[WorkerState]:
        return sorted(self._workers.values(), key=lambda worker: (len(worker.name), worker.name))

    def _active_workers(self) -> list[WorkerState]:
        return [worker for worker in self._workers.values() if worker.active]

    def _wait_until(
        self, condition: Callable[[], bool], interval_s: float, timeout_s: float | None = None
    ) -> bool:
        """Wait until `condition` holds and return True; return False after `timeout_s` seconds.

        Raises StoppedError when the load is to end early, LoadError when a worker fails or none is left.
        """
        deadline_s = time.monotonic() + (timeout_s or float("inf"))
        while not condition():
            if self._stop.wait(interval_s):
                raise StoppedError
            if self._error is not None:
                raise LoadError(self._error)
            self._find_lost_workers()
            self._files.write_status(self._progress)
            if time.monotonic() > deadline_s:
                return False
        return True

    def _find_lost_workers(self) -> None:
        joined = {worker.name for worker in self._workers.values()}
        for fork in self._forks.values():
            if not fork.is_running() and fork.name not in joined:
                raise LoadError(f"{fork.name} died before it began")
        silent_since_s = time.monotonic() - protocol.SILENCE_TIMEOUT_S
        for worker in self._active_workers():
            own_fork = self._forks.get(worker.name)
            silent = self._runner.last_message_s[worker.key] < silent_since_s
            if silent or (own_fork is not None and not own_fork.alive):
                self._mark_ended(worker, "lost")
        if joined and not any(worker.ended != "lost" for worker in self._workers.values()):
            raise LoadError("every load worker has died")

    def _mark_ended(self, worker: WorkerState, ended: Ended) -> None:
        worker.ended, worker.ended_ns = ended, time.monotonic_ns() - self._order.settings.epoch_ns
        if ended == "lost":
            self._runner.mark_missing(worker.key)
        self._write_workers_file()

    def _stop_workers(self) -> None:
        """Tell all workers to stop, and wait for their last rows."""
        for worker in self._active_workers():
            self._send(worker, protocol.STOP)
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        while self._active_workers() and time.monotonic() < deadline_s:
            gevent.sleep(POLL_INTERVAL_S)

    def _dismiss_workers(self) -> None:
        last = self._order.last or self._progress.state != "done"
        for worker in self._workers.values():
            self._send(worker, protocol.BYE, last=last)
        self._runner.close()

    def _write_workers_file(self) -> None:
        path = self._order.folder / WORKERS_FILE
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps([worker.record() for worker in self._workers_by_name()]))
        temporary.replace(path)

    def _send(self, worker: WorkerState, kind: str, **data: object) -> None:
        self._runner.send_message(kind, data, worker.key)

    def _receive(self, environment: object, msg: Any) -> None:  # noqa: ARG002 - Locust's signature
        """Handle one message of a worker."""
        key, data = msg.node_id, msg.data
        if msg.type == protocol.PING:
            answer = {"sent_ns": data["sent_ns"], "master_ns": time.monotonic_ns(), "clock": clock_name()}
            self._runner.send_message(protocol.PONG, answer, key)
        elif msg.type == protocol.HELLO:
            self._admit(key, data)
        elif key in self._workers:
            self._handle(self._workers[key], msg.type, data)

    def _admit(self, key: str, data: dict[str, Any]) -> None:
        """Let a worker join if its code is the same and a place is free."""
        order = self._order
        number = order.processes + sum(worker.name not in self._forks for worker in self._workers.values())
        name = data["name"] or f"load-worker-{number}"
        if data["code"] != protocol.code_digest():
            self._error = f"the load worker on {data['host']} has another version of the lab"
        elif name not in self._forks and number >= order.processes + order.expect_workers:
            self._runner.send_message(protocol.BYE, {"last": False}, key)
        else:
            offset = ClockOffset(data["offset_ns"], data["uncertainty_ns"])
            self._workers[key] = WorkerState(name, key, data["host"], offset)

    def _handle(self, worker: WorkerState, kind: str, data: dict[str, Any]) -> None:
        if kind == protocol.READY:
            worker.ready = data["phase"]
            worker.channels += data["channels"]
        elif kind == protocol.ROWS:
            self._files.append(RowBatch(**data))
            worker.rows += data["rows"]
            worker.measured += data["measured"]
        elif kind == protocol.ENDED:
            self._handle_ended(worker, data)
        elif kind == protocol.FAILED:
            self._error = f"{worker.name} failed: {data['error']}"

    def _handle_ended(self, worker: WorkerState, data: dict[str, Any]) -> None:
        """Record how a worker ended. It counts as lost if rows are missing or if nobody told it to stop."""
        complete = data["rows"] == worker.rows
        if data["state"] == "done" and complete:
            self._mark_ended(worker, "done")
        elif self._stop.is_set() and complete:
            self._mark_ended(worker, "stopped")
        else:
            self._mark_ended(worker, "lost")
            self._send(worker, protocol.BYE, last=True)

    def _dispatcher(self, worker_nodes: object, user_classes: object) -> FixedDispatcher:  # noqa: ARG002
        return FixedDispatcher({worker.key: len(worker.clients) for worker in self._workers.values()})
