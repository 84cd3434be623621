"""The load of a cell that a Locust file of the user's own makes: the tasks of its users, a closed loop.

`python -m load.own_locustfile ORDER.json` carries out one load order (load.order) that names a Locust file.
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
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import locust  # it patches the standard library, so it comes before all that uses threads

# isort: split
import gevent
import gevent.event
from locust import User
from locust.env import Environment
from locust.util.load_locustfile import load_locustfile

from lb.channel import CONNECT_TIMEOUT_S
from lb.client import Rows
from lb.plan import NS_PER_S
from lb.rows import CLOSED_LOOP_MEASURED
from load.channelz import ClientChannels, read_client_channels
from load.engine import Progress
from load.lab_user import LabUser
from load.locust_adapter import listen_for_stop
from load.order import CHANNELS_FILE, STOPPED_EARLY, LoadOrder, LoadStatus
from load.page_guard import guard_page
from load.recorded_calls import EndedCall
from load.row_batches import BATCH_INTERVAL_S, POLL_INTERVAL_S, RowCollector, RowFiles


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


class OwnFileRun:
    """Runs the users of a Locust file through the phases of one order, once."""

    def __init__(self, order: LoadOrder) -> None:
        assert order.locustfile is not None
        self._order = order
        self._progress = Progress()
        self._calls = PhasedCalls()
        self._stop = gevent.event.Event()
        self._files = RowFiles(order.folder)
        settings = replace(order.settings, draw=order.load.draw)
        LabUser.run_in_cell(settings, self._calls)
        self._environment: Any = Environment(
            user_classes=_user_classes(order.locustfile),
            events=locust.events,
            host=settings.target,
        )
        self._runner: Any = self._environment.create_local_runner()
        self._collector = RowCollector(self._environment, self._calls.rows, self._files.append)
        listen_for_stop(self._stop.set)

    def run(self) -> int:
        """Carry out the order and return the exit status. Raises OwnFileError."""
        order = self._order
        page: Any = None
        if order.web_port is not None:
            page = self._environment.create_web_ui("127.0.0.1", order.web_port)
            guard_page(page, read_only=True)
        locust.events.init.fire(environment=self._environment, runner=self._runner, web_ui=page)
        self._runner.start(order.load.clients, spawn_rate=order.spawn_rate or order.load.clients)
        try:
            self._run_phases()
            self._progress.state = "stopped" if self._stop.is_set() else "done"
        finally:
            self._calls.close_gate()
            self._runner.quit()
            self._collect()
            self._files.close()
            if page is not None:
                page.stop()
        return STOPPED_EARLY if self._stop.is_set() else 0

    def _run_phases(self) -> None:
        order = self._order
        if not self._wait(lambda: self._runner.user_count >= order.load.clients, POLL_INTERVAL_S):
            return
        channels = self._channels()
        (order.folder / CHANNELS_FILE).write_text(json.dumps([asdict(client) for client in channels]))
        self._progress.state = "warm_up"
        ends_ns = time.monotonic_ns() + round(order.warm_up_s * NS_PER_S)
        if not self._wait(lambda: time.monotonic_ns() >= ends_ns, POLL_INTERVAL_S):
            return
        # All calls of the warm-up have ended, so the replicas are idle when measuring starts.
        self._calls.close_gate()
        if not self._wait(lambda: not self._calls.open_calls, POLL_INTERVAL_S):
            return
        start_ns = time.monotonic_ns()
        self._progress.start_measuring(start_ns - order.settings.epoch_ns, order.duration_s)
        self._calls.measure()
        ends_ns = start_ns + round(order.duration_s * NS_PER_S)
        if not self._wait(lambda: time.monotonic_ns() >= ends_ns, BATCH_INTERVAL_S):
            return
        self._calls.close_gate()
        self._wait(lambda: not self._calls.open_calls, POLL_INTERVAL_S)
        if not self._calls.begun:
            raise OwnFileError(f"{order.locustfile}: its users made no call in {order.duration_s:g} s")

    def _channels(self) -> list[ClientChannels]:
        """Return the users' channels, once all of them know their policy, or after a while without."""
        late_s = time.monotonic() + CONNECT_TIMEOUT_S
        numbers, connections = LabUser.numbers_given(), 1
        try:
            self._wait(
                lambda: (
                    all(one.policy for one in read_client_channels(numbers, connections))
                    or time.monotonic() > late_s
                ),
                POLL_INTERVAL_S,
            )
            return read_client_channels(numbers, connections)
        except RuntimeError as error:
            raise OwnFileError(
                f"{self._order.locustfile}: opens channels besides those of LabUser: {error}"
            ) from error

    def _wait(self, condition: Any, interval_s: float) -> bool:
        """Wait until `condition` holds and return True; return False when the load is to end early."""
        while not condition():
            if self._stop.wait(interval_s):
                return False
            self._collect()
        return True

    def _collect(self) -> None:
        self._collector.collect(self._progress)
        self._files.write_status(self._progress)


def _user_classes(path: Path) -> list[type[User]]:
    """Return the user classes of a Locust file. Raises OwnFileError if it cannot be the load of a cell."""
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
    return found


def main(argv: list[str] | None = None) -> int:
    """Carry out the load order whose path is the only argument; return the exit status."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    (path,) = sys.argv[1:] if argv is None else argv
    order = LoadOrder.read(Path(path))
    try:
        return OwnFileRun(order).run()
    except OwnFileError as error:
        LoadStatus(state="failed", error=str(error)).write(order.folder)
        return 1


if __name__ == "__main__":
    sys.exit(main())
