"""Locust's master and workers, less what they would do of their own accord to the load.

Whether the other side is there, both find out by what they hear; Locust's own checks go by the wall clock,
which may jump, and start users anew, whose sessions would be others.
"""

import time
from typing import Any

import locust.runners
from locust.rpc import Message
from locust.runners import STATE_MISSING, MasterRunner, WorkerRunner

KNOCK_S = 0.5  # between two knocks at the master's door
REPORT_S = 0.5  # between two reports to Locust's statistics


class CellMaster(MasterRunner):
    """`is_open`: workers may come. `heard_s`: Locust's name of a worker -> when it last spoke (monotonic)."""

    def __init__(self, environment: Any, host: str, port: int) -> None:
        self.is_open = True
        self.heard_s: dict[str, float] = {}
        super().__init__(environment, host, port)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server.port)

    def handle_message(self, client_id: str, msg: Message) -> None:
        """Hear all that is known; a stranger who comes too late may knock again at the next cell's door."""
        self.heard_s[client_id] = time.monotonic()
        if msg.type != "client_ready" or self.is_open:
            super().handle_message(client_id, msg)

    def heartbeat_worker(self) -> None:  # type: ignore[override]
        """Nobody is counted out here."""

    def show_lost(self, key: str) -> None:
        """Show on Locust's page that this worker is missing."""
        if key in self.clients:
            self.clients[key].state = STATE_MISSING

    def leave(self) -> None:
        """Close; what has been said last is still sent."""
        socket: Any = self.server.socket
        self.greenlet.kill()
        socket.close(linger=500)
        socket.context.term()


class CellWorker(WorkerRunner):
    """To be made through `connect`."""

    def heartbeat_timeout_checker(self) -> None:  # type: ignore[override]
        """The master is not given up here."""


def connect(environment: Any, host: str, port: int, patience_s: float) -> CellWorker | None:
    """A worker that the master at `host`:`port` has let in, None where none does within `patience_s`.

    Changes Locust's settings for the whole process.
    """
    settings: Any = locust.runners
    settings.CONNECT_TIMEOUT = KNOCK_S
    settings.CONNECT_RETRY_COUNT = int(patience_s / KNOCK_S)
    settings.WORKER_REPORT_INTERVAL = REPORT_S
    try:
        environment.runner = CellWorker(environment, host, port)
    except ConnectionError:
        return None
    runner: CellWorker = environment.runner
    return runner
