"""The load of a cell that a Locust file of the user's own makes: the tasks of its users, a closed loop.

`python -m load.own_locustfile ORDER.json` carries out one load order (load.order) that names a Locust file.
`python -m load.own_locustfile MASTER_HOST MASTER_PORT NAME` is one of several processes that do so.
Locust runs the users as in any run of its own; nothing of it is overridden. Their calls come from LabUser,
whose stub asks this module before each call. So the phases are kept apart, and every call is recorded.
Exit status: as of load.main.
"""

import os

# The harness sets it for the asyncio clients. A Locust file's users need Locust's gevent.
os.environ.pop("LOCUST_SKIP_MONKEY_PATCH", None)

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import locust  # it patches the standard library, so it comes before all that uses threads

# isort: split
import gevent
import gevent.event
from locust import User
from locust.env import Environment
from locust.util.load_locustfile import load_locustfile

from lb.channel import CONNECT_TIMEOUT_S
from lb.client import Rows
from lb.plan import NS_PER_S, Phase
from lb.rows import CLOSED_LOOP_MEASURED
from load.channelz import ClientChannels, read_client_channels
from load.engine import Progress
from load.lab_user import LabUser
from load.locust_adapter import listen_for_stop
from load.order import CHANNELS_FILE, LOCAL_WORKERS_TIMEOUT_S, STOPPED_EARLY, LoadOrder, LoadStatus
from load.page_guard import guard_page
from load.recorded_calls import EndedCall
from load.row_batches import POLL_INTERVAL_S, RowCollector, RowFiles, record_to_end
from load.secret import read_secret
from load.worker_session import run_session


class OwnFileError(Exception):
    """The Locust file cannot be the load; the text says why, in one line."""


class PhasedCalls:
    """A CallLog of all users of a cell. Calls wait while the gate is closed.

    `rows`: finished calls. `open_calls`: calls under way. Request ids count from 0 in the warm-up and from
    CLOSED_LOOP_MEASURED in the measured window, for each client.
    """

    def __init__(self) -> None:
        self.rows = Rows()
        self.open_calls = 0
        self.begun = 0
        self._first_number = 0
        self._numbers: Counter[int] = Counter()
        self._gate = gevent.event.Event()
        self._gate.set()

    def begin(self, client: int) -> int:
        """See CallLog."""
        self._gate.wait()
        number = self._numbers[client] + self._first_number
        self._numbers[client] += 1
        self.open_calls += 1
        self.begun += 1
        return number

    def end(self, call: EndedCall) -> None:
        """See CallLog."""
        self.open_calls -= 1
        self.rows.messages.extend(call.messages)
        code = str(call.row["code"])
        if code != "OK":
            self.rows.failures.append((code, call.error))
        self.rows.requests.append(tuple(call.row.values()))

    def close_gate(self) -> None:
        """Let no call begin from now on."""
        self._gate.clear()

    def measure(self) -> None:
        """Begin the numbers of the measured window, and let calls begin."""
        self._first_number, self.begun = CLOSED_LOOP_MEASURED, 0
        self._numbers.clear()
        self._gate.set()


class UsersGate(Protocol):
    """Decides when each phase starts, as load.engine.PhaseGate does for the lab's clients."""

    def users_ready(self, channels: list[ClientChannels]) -> None:
        """Take the channels of all users. Called once, when all of them run."""
        ...

    def wait_for_start(self, phase: Phase) -> int:
        """Return the instant at which `phase` starts (monotonic ns). No call is under way then."""
        ...


class AtOnce:
    """A UsersGate that starts each phase at once. It writes the channels file to `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def users_ready(self, channels: list[ClientChannels]) -> None:
        """See UsersGate."""
        (self._folder / CHANNELS_FILE).write_text(json.dumps([asdict(client) for client in channels]))

    def wait_for_start(self, phase: Phase) -> int:  # noqa: ARG002 - both phases start alike
        """See UsersGate."""
        return time.monotonic_ns()


class WhenMasterSays:
    """A UsersGate that starts each phase when the master says so: see load.worker_session.SessionGate."""

    def __init__(self) -> None:
        self.channels: list[ClientChannels] = []
        self.waiting_for: Phase | None = None
        self._start = gevent.event.AsyncResult()

    def users_ready(self, channels: list[ClientChannels]) -> None:
        """See UsersGate."""
        self.channels = channels

    def wait_for_start(self, phase: Phase) -> int:
        """See UsersGate."""
        self._start = gevent.event.AsyncResult()
        self.waiting_for = phase
        return int(self._start.get())

    def open(self, start_ns: int) -> None:
        """Start the phase at `start_ns` (monotonic ns)."""
        self.waiting_for = None
        self._start.set(start_ns)


class UsersLoad:
    """Runs users of a Locust file, with the numbers `clients`, through the phases of one order, once.

    `environment`: Locust's. Raises OwnFileError for a file that cannot be the load.
    """

    def __init__(self, order: LoadOrder, clients: Sequence[int], gate: UsersGate) -> None:
        assert order.locustfile is not None
        self.progress = Progress()
        self._order = order
        self._users = len(clients)
        self._gate = gate
        self._calls = PhasedCalls()
        self.rows = self._calls.rows
        LabUser.run_in_cell(replace(order.settings, draw=order.load.draw), self._calls, clients)
        self.environment: Any = Environment(
            user_classes=_user_classes(order.locustfile, alone=not order.distributed),
            events=locust.events,
            host=order.settings.target,
        )
        self._runner: Any = self.environment.create_local_runner()
        self._run: Any = None

    def start(self) -> None:
        """Start the users and the run."""
        locust.events.init.fire(
            environment=self.environment, runner=self._runner, web_ui=self.environment.web_ui
        )
        everybody = self._order.load.clients
        spawn_rate = (self._order.spawn_rate or everybody) * self._users / everybody
        if self._users:
            self._runner.start(self._users, spawn_rate=spawn_rate)
        self._run = gevent.spawn(self._run_to_end)

    def finished(self) -> bool:
        """Return whether the run has ended. Raises the error with which it failed."""
        if not self._run.ready():
            return False
        self._run.get()
        return True

    def call_at_end(self, ended: Callable[[], object]) -> None:
        """Have `ended` called once the run has ended."""
        self._run.link(lambda _run: ended())

    def stop(self) -> None:
        """End the run early. Calls that are still open get no row."""
        if self._run is not None:
            self._run.kill(block=False)

    def _run_to_end(self) -> None:
        try:
            self._run_phases()
            self.progress.state = "done"
        except gevent.GreenletExit:
            self.progress.state = "stopped"
        finally:
            self._calls.close_gate()
            self._runner.quit()

    def _run_phases(self) -> None:
        order = self._order
        _wait(lambda: self._runner.user_count >= self._users)
        self._gate.users_ready(self._channels())
        if order.warm_up_s:
            start_ns = self._gate.wait_for_start("warm_up")
            self.progress.state = "warm_up"
            _sleep_until(start_ns + round(order.warm_up_s * NS_PER_S))
        # All calls before have ended, so the replicas are idle when measuring starts.
        self._calls.close_gate()
        _wait(lambda: not self._calls.open_calls)
        start_ns = self._gate.wait_for_start("measure")
        _sleep_until(start_ns)
        self.progress.start_measuring(start_ns - order.settings.epoch_ns, order.duration_s)
        self._calls.measure()
        _sleep_until(start_ns + round(order.duration_s * NS_PER_S))
        self._calls.close_gate()
        _wait(lambda: not self._calls.open_calls)
        if not (self._calls.begun or order.distributed):
            raise OwnFileError(order.no_call)

    def _channels(self) -> list[ClientChannels]:
        """Return the users' channels, once all of them know their policy, or after a while without."""
        late_s = time.monotonic() + CONNECT_TIMEOUT_S
        numbers, connections = LabUser.numbers_given(), 1
        try:
            _wait(
                lambda: (
                    all(one.policy for one in read_client_channels(numbers, connections))
                    or time.monotonic() > late_s
                )
            )
            return read_client_channels(numbers, connections)
        except RuntimeError as error:
            raise OwnFileError(
                f"{self._order.locustfile}: opens channels besides those of LabUser: {error}"
            ) from error


def _wait(condition: Callable[[], bool]) -> None:
    while not condition():
        gevent.sleep(POLL_INTERVAL_S)


def _sleep_until(instant_ns: int) -> None:
    while (left_ns := instant_ns - time.monotonic_ns()) > 0:  # gevent's clock may lag behind
        gevent.sleep(left_ns / NS_PER_S)


def _user_classes(path: Path, *, alone: bool) -> list[type[User]]:
    """Return the user classes of a Locust file. `alone`: no other process has users of it, too.

    Raises OwnFileError if it cannot be the load of a cell.
    """
    try:
        classes, shapes = load_locustfile(str(path))
    except Exception as error:
        logging.exception("%s", path)
        raise OwnFileError(f"{path}: {type(error).__name__}: {error}") from error
    if shapes:
        raise OwnFileError(
            f"{path}: {type(shapes[0]).__name__} changes the number of users, which `users` gives"
        )
    found = [kind for kind in classes.values() if not kind.abstract]
    other = next((kind.__name__ for kind in found if not issubclass(kind, LabUser)), None)
    if other is not None:
        raise OwnFileError(
            f"{path}: {other} is no LabUser (load.lab_user), so its calls would not be recorded"
        )
    if not found:
        raise OwnFileError(f"{path}: there is no user class in it")
    fixed = next((kind.__name__ for kind in found if kind.fixed_count), None)
    if fixed is not None and not alone:
        raise OwnFileError(
            f"{path}: {fixed} has a fixed_count, and each process would have so many; leave out --processes, "
            "or fixed_count"
        )
    return found


def run_alone(order: LoadOrder) -> int:
    """Carry out the order in this process and return the exit status. Raises OwnFileError."""
    load = UsersLoad(order, range(order.load.clients), AtOnce(order.folder))
    files = RowFiles(order.folder)
    collector = RowCollector(load.environment, load.rows, files.append)
    listen_for_stop(load.stop)
    page: Any = None
    if order.web_port is not None:
        page = load.environment.create_web_ui("127.0.0.1", order.web_port)
        guard_page(page, read_only=True)
    try:
        record_to_end(load, collector, files)
    finally:
        if page is not None:
            page.stop()
    return 0 if load.progress.state == "done" else STOPPED_EARLY


def _for_master(order: LoadOrder, clients: list[int]) -> tuple[UsersLoad, WhenMasterSays]:
    gate = WhenMasterSays()
    return UsersLoad(order, clients, gate), gate


def main(argv: list[str] | None = None) -> int:
    """Carry out the load order at the path given, or work for a master; return the exit status."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    first, *others = sys.argv[1:] if argv is None else argv
    if others:
        port, name = others
        return run_session(
            first, int(port), read_secret(None), LOCAL_WORKERS_TIMEOUT_S, name, make_load=_for_master
        )
    order = LoadOrder.read(Path(first))
    try:
        return run_alone(order)
    except OwnFileError as error:
        LoadStatus(state="failed", error=str(error)).write(order.folder)
        return 1


if __name__ == "__main__":
    sys.exit(main())
