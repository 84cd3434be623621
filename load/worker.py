"""A load worker that a user starts, on any machine. It works for all cells of a run.

`python -m load.worker MASTER_HOST MASTER_PORT [SECRET_FILE]` makes calls for the master at that address, in
one child process for each cell, until the run is over. The run's secret is in the file, or in the environment
(load.secret). Ctrl-C and SIGTERM end it; it sends the finished rows first.
Exit status: 0 the run is over, 2 no usable secret, 4 no master answered for ten minutes, 130 interrupted.
"""

# Imported first: it sets environment variables that Locust and gRPC read when they are imported.
import load.main  # noqa: F401

# isort: split
import logging
import os
import resource
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from load.forks import Fork, fork
from load.secret import SecretError, read_secret
from load.worker_session import CELL_ENDED, NO_MASTER, RUN_ENDED, run_session

NO_MASTER_TIMEOUT_S = 600.0
CONNECT_TIMEOUT_S = 10.0  # of one child; then the next child tries
PAUSE_S = 0.5  # between two children
STOP_TIMEOUT_S = 2.0  # for the last rows of a child that is told to end
BAD_USAGE, LAB_FAILED, INTERRUPTED = 2, 4, 130

log = logging.getLogger("worker")


class WorkerLoop:
    """Forks a child process for each cell: gRPC cannot be used in a fork of a process that used it."""

    def __init__(self, host: str, port: int, secret: str, timeout_s: float = NO_MASTER_TIMEOUT_S) -> None:
        self._host, self._port, self._secret, self._timeout_s = host, port, secret, timeout_s
        self._child: Fork | None = None

    def run(self) -> int:
        """Work until the run is over, and return the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        log.info("works for the master at %s:%d; Ctrl-C ends it", self._host, self._port)
        last_cell_s = time.monotonic()
        while time.monotonic() < last_cell_s + self._timeout_s:
            status = self._run_cell()
            if status == RUN_ENDED:
                log.info("the run is over")
                return 0
            if status != NO_MASTER:
                last_cell_s = time.monotonic()
                if status == CELL_ENDED:
                    log.info("finished a cell")
                else:
                    log.info("failed in a cell (status %d)", status)
            time.sleep(PAUSE_S)
        log.error("no master with the same secret at %s:%d for %g s", self._host, self._port, self._timeout_s)
        return LAB_FAILED

    def _run_cell(self) -> int:
        self._child = fork("load-worker", self._run_child)
        _, status = os.waitpid(self._child.pid, 0)
        self._child.alive = False
        return os.waitstatus_to_exitcode(status)

    def _run_child(self) -> int:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the parent sends SIGTERM
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        timeout_s = min(CONNECT_TIMEOUT_S, self._timeout_s)
        return run_session(self._host, self._port, self._secret, timeout_s)

    def _stop(self, _number: int, _frame: FrameType | None) -> NoReturn:
        """Let the child send its finished rows, then exit."""
        child, deadline_s = self._child, time.monotonic() + STOP_TIMEOUT_S
        if child is not None and child.alive:
            os.kill(child.pid, signal.SIGTERM)
            while child.is_running() and time.monotonic() < deadline_s:
                time.sleep(0.01)
            child.kill()
        os._exit(INTERRUPTED)


def main(argv: list[str] | None = None) -> int:
    """Work for the master whose host and port are the first two arguments; return the exit status."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="load worker: %(message)s")
    logging.getLogger("locust").setLevel(logging.WARNING)
    host, port, *secret_file = sys.argv[1:] if argv is None else argv
    try:
        secret = read_secret(Path(secret_file[0]) if secret_file else None)
    except SecretError as error:
        log.error("%s", error)
        return BAD_USAGE
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)  # each client's connection is an open file
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    return WorkerLoop(host, int(port), secret).run()


if __name__ == "__main__":
    sys.exit(main())
