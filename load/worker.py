"""A load worker that is started by hand, on whatever machine, for all cells of a run.

`python -m load.worker MASTER_HOST MASTER_PORT` plays for the master there, one child process a cell, until
the run is over. Ctrl-C and SIGTERM end it; what was finished is sent first. Exit status: 0 the run is over,
4 there was no master for ten minutes, 130 interrupted.
"""

# First: it sets what Locust and gRPC read when they are imported.
import load.conductor  # noqa: F401

# isort: split
import logging
import os
import signal
import sys
import time
from types import FrameType
from typing import NoReturn

from load.forks import Fork, fork
from load.part import NEXT, NO_MASTER, OVER, play_part

PATIENCE_S = 600.0
KNOCKING_S = 10.0  # until a child that no master lets in makes way for the next
PAUSE_S = 0.5  # between two children
LEAVE_S = 2.0  # for a child that is to end: its last rows
LAB_FAILED, INTERRUPTED = 4, 130

log = logging.getLogger("worker")


class WorkerLoop:
    """Forks a child for each cell: gRPC cannot be used again in a fork of a process that has used it."""

    def __init__(self, host: str, port: int, patience_s: float = PATIENCE_S) -> None:
        self._host, self._port, self._patience_s = host, port, patience_s
        self._child: Fork | None = None

    def run(self) -> int:
        """Play until the run is over; the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._leave)
        log.info("for the master at %s:%d; Ctrl-C ends it", self._host, self._port)
        heard_s = time.monotonic()
        while time.monotonic() < heard_s + self._patience_s:
            status = self._play_one()
            if status == OVER:
                log.info("the run is over")
                return 0
            if status != NO_MASTER:
                heard_s = time.monotonic()
                log.info("played a cell" if status == NEXT else "failed in a cell (status %d)", *_of(status))
            time.sleep(PAUSE_S)
        log.error("no master at %s:%d for %g s", self._host, self._port, self._patience_s)
        return LAB_FAILED

    def _play_one(self) -> int:
        self._child = fork("load-worker", self._in_child)
        _, status = os.waitpid(self._child.pid, 0)
        self._child.alive = False
        return os.waitstatus_to_exitcode(status)

    def _in_child(self) -> int:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who passes it on
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return play_part(self._host, self._port, min(KNOCKING_S, self._patience_s))

    def _leave(self, _number: int, _frame: FrameType | None) -> NoReturn:
        """Let the child send what it has, then end."""
        child, deadline_s = self._child, time.monotonic() + LEAVE_S
        if child is not None and child.alive:
            os.kill(child.pid, signal.SIGTERM)
            while child.look() and time.monotonic() < deadline_s:
                time.sleep(0.01)
            child.kill()
        os._exit(INTERRUPTED)


def _of(status: int) -> tuple[int, ...]:
    return () if status == NEXT else (status,)


def main(argv: list[str] | None = None) -> int:
    """Play for the master whose host and port are the two arguments."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="load worker: %(message)s")
    logging.getLogger("locust").setLevel(logging.WARNING)
    host, port = sys.argv[1:] if argv is None else argv
    return WorkerLoop(host, int(port)).run()


if __name__ == "__main__":
    sys.exit(main())
