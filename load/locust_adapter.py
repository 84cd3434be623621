"""Locust, used as a library: its environment, user class, master and workers, adapted to the lab.

Locust gives the lab the statistics, the web page, and the messages between processes. The lab makes the calls
and decides which process runs which client. Locust's command line is not used.

Locust's own checks whether master and workers are alive are switched off. They read the wall clock, which may
jump, and they would replace lost users by new ones, which are new sessions. The lab counts the messages that
arrive instead: see LabMasterRunner.last_message_s.
"""

import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import gevent
import gevent.event
import locust.runners
from locust import User, task
from locust.env import Environment
from locust.exception import RPCSendError, StopUser
from locust.rpc import Message
from locust.runners import STATE_MISSING, MasterRunner, WorkerRunner
from locust.stats import RequestStats, StatsEntry, bucket_response_time

from load.encrypted_sockets import EncryptedSockets
from load.page_guard import guard_page

CONNECT_INTERVAL_S = 0.5  # between two attempts of a worker to reach its master
REPORT_INTERVAL_S = 0.5  # between two reports of a worker to Locust's statistics


class GrpcClientUser(User):
    """A Locust user that stands for one client of the load engine. It makes no calls itself."""

    abstract = False

    @task
    def wait_for_end(self) -> Any:
        """Wait until the run has ended. RowCollector passes the client's answers to Locust's statistics."""
        self.environment.run_ended.wait()
        raise StopUser


class LabEnvironment(Environment):
    """Locust's environment. `title`: shown on its page. `run_ended` is set when the run has ended."""

    def __init__(self, title: str, **locust_arguments: Any) -> None:
        # The page shows Locust's `host` in its head. The lab's own calls do not use it.
        super().__init__(user_classes=[GrpcClientUser], host=title, stop_timeout=0, **locust_arguments)
        self.run_ended = gevent.event.Event()

    def open_web_page(self, port: int | None) -> None:
        """Open Locust's web page, read-only, on this port of loopback; None: open no page."""
        if port is not None:
            guard_page(self.create_web_ui("127.0.0.1", port), read_only=True)

    def close_web_page(self) -> None:
        """Close the web page if it is open."""
        page: Any = self.web_ui
        if page:
            page.stop()


def listen_for_stop(stop: Callable[[], object]) -> None:
    """Call `stop` on SIGTERM."""
    gevent.signal_handler(signal.SIGTERM, stop)


class CallFailedError(Exception):
    """A failed call in Locust's statistics; the text is the gRPC code."""


class FinishedCall(NamedTuple):
    """A finished call as Locust counts it. `name`: the replica that answered. `code`: of gRPC."""

    method: str
    name: str
    took_ms: float
    code: str


def add_calls(stats: RequestStats, calls: Iterable[FinishedCall]) -> None:
    """Add finished calls to Locust's statistics: one entry for each method and name, and the total.

    Locust's event for each request would cost a sixth of the CPU time of a call.
    """
    times_ms: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for call in calls:
        times_ms[call.name, call.method].append(call.took_ms)
        if call.code != "OK":
            stats.log_error(call.method, call.name, CallFailedError(call.code))
    for key, own_ms in times_ms.items():
        stats.entries[key].extend(_entry(stats, own_ms))
    if times_ms:
        stats.total.extend(_entry(stats, [ms for own_ms in times_ms.values() for ms in own_ms]))


def _entry(stats: RequestStats, times_ms: list[float]) -> Any:
    """Return an entry that has these calls, all of them finished now."""
    entry: Any = StatsEntry(stats, "", "")  # its times are typed as int, but Locust counts floats
    now_unix_s = time.time()
    entry.num_requests = len(times_ms)
    entry.total_response_time = sum(times_ms)
    entry.min_response_time, entry.max_response_time = min(times_ms), max(times_ms)
    entry.response_times = Counter(map(bucket_response_time, times_ms))
    entry.num_reqs_per_sec = {int(now_unix_s): len(times_ms)}
    entry.last_request_timestamp = now_unix_s
    return entry


def _settings() -> Any:
    """Return the module whose variables are the settings of Locust's runners, for the whole process."""
    return locust.runners


class FixedDispatcher:
    """Tells Locust how many users each worker has; replaces Locust's UsersDispatcher.

    `users`: Locust's id of a worker -> number of its users. Users never move to another worker: no other
    worker has their sessions.
    """

    dispatch_in_progress = False

    def __init__(self, users: dict[str, int]) -> None:
        self._users = users

    def new_dispatch(self, target_user_count: int, spawn_rate: float, user_classes: object = None) -> None:
        """Do nothing: the numbers of users are fixed. Locust calls this."""

    def __iter__(self) -> Iterator[dict[str, dict[str, int]]]:
        yield {key: {GrpcClientUser.__name__: users} for key, users in self._users.items()}

    def add_worker(self, worker_node: object) -> None:
        """Do nothing: no worker joins after the start. Locust calls this."""

    def remove_worker(self, worker_node: object) -> None:
        """Do nothing: users of a lost worker are not replaced. Locust calls this."""


class LabMasterRunner(MasterRunner):
    """Locust's master without its own liveness checks.

    `accepts_workers`: whether new workers may join. `last_message_s`: Locust's id of a worker -> when its
    last message arrived (monotonic seconds).
    """

    def __init__(self, environment: Any, host: str, port: int, secret: str) -> None:
        self.accepts_workers = True
        self.last_message_s: dict[str, float] = {}
        _settings().rpc = EncryptedSockets(secret)
        super().__init__(environment, host, port)

    @property
    def port(self) -> int:
        """The TCP port on which the master listens."""
        return int(self.server.port)

    def handle_message(self, client_id: str, msg: Message) -> None:
        """Handle a message, except from a worker that wants to join too late: it may try the next cell."""
        self.last_message_s[client_id] = time.monotonic()
        if msg.type != "client_ready" or self.accepts_workers:
            super().handle_message(client_id, msg)

    def heartbeat_worker(self) -> None:  # type: ignore[override]
        """Do nothing: load.master finds lost workers."""

    def mark_missing(self, key: str) -> None:
        """Show this worker as missing on Locust's web page."""
        if key in self.clients:
            self.clients[key].state = STATE_MISSING

    def close(self) -> None:
        """Stop listening. Messages that were sent before still leave."""
        socket: Any = self.server.socket
        self.greenlet.kill()
        socket.close(linger=500)
        socket.context.term()


class LabWorkerRunner(WorkerRunner):
    """Locust's worker without its own liveness checks. Create it with connect_to_master."""

    def heartbeat_timeout_checker(self) -> None:  # type: ignore[override]
        """Do nothing: load.worker_session notices a lost master."""


def connect_to_master(
    environment: Any, host: str, port: int, secret: str, timeout_s: float
) -> LabWorkerRunner | None:
    """Return a worker that is connected to the master at `host`:`port`, or None after `timeout_s` seconds.

    A master that does not know `secret` does not count. Changes Locust's settings for the whole process.
    """
    settings = _settings()
    settings.rpc = EncryptedSockets(secret)
    settings.CONNECT_TIMEOUT = CONNECT_INTERVAL_S
    settings.CONNECT_RETRY_COUNT = int(timeout_s / CONNECT_INTERVAL_S)
    settings.WORKER_REPORT_INTERVAL = REPORT_INTERVAL_S
    try:
        environment.runner = LabWorkerRunner(environment, host, port)
    except (ConnectionError, RPCSendError):
        return None
    runner: LabWorkerRunner = environment.runner
    return runner
