"""Forked child processes. The kernel kills them when their parent ends in any way."""

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15


@dataclass
class Fork:
    """One forked child process. `alive`: whether it has not been seen to have ended."""

    name: str
    pid: int
    alive: bool = True

    def is_running(self) -> bool:
        """Return whether the process still runs, and update `alive`."""
        if self.alive:
            try:
                ended, _ = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # another caller has already waited for it
                ended = self.pid
            self.alive = not ended
        return self.alive

    def kill(self) -> None:
        """Kill the process and wait until it has ended."""
        if self.is_running():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.alive = False


def fork(name: str, run: Callable[[], int]) -> Fork:
    """Call `run` in a child process, which exits with the status that `run` returns. top shows `name`.

    Call this before the process has threads or an event loop: gRPC, ZeroMQ and gevent's hub do not survive
    a fork.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _run_child(name, run, parent)
    return Fork(name, pid)


class PortFork:
    """A fork that waits for a port number and then calls `run` with it.

    The master opens its port after the fork, so that the child inherits no socket.
    """

    def __init__(self, name: str, run: Callable[[int], int]) -> None:
        read, self._write = os.pipe()
        self.fork = fork(name, lambda: run(int(os.read(read, 16))))
        os.close(read)

    def send_port(self, port: int) -> None:
        """Send the port to the child, which then runs. A child that has died is not told; see is_running."""
        with suppress(BrokenPipeError):
            os.write(self._write, str(port).encode())
        os.close(self._write)


def set_process_name(name: str) -> None:
    """Set the name of this process that top and ps -o comm show. The kernel keeps 15 characters."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode())


def _run_child(name: str, run: Callable[[], int], parent: int) -> NoReturn:
    status = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # the parent died before the line above took effect
        set_process_name(name)
        status = run()
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
