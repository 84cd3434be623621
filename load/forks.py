"""Processes that are forked and end with their parent, whatever ends it."""

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15


@dataclass
class Fork:
    """One forked process. `alive`: it has not been seen to end."""

    name: str
    pid: int
    alive: bool = True

    def look(self) -> bool:
        """Whether it still runs."""
        if self.alive:
            try:
                ended, _ = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody has waited for it
                ended = self.pid
            self.alive = not ended
        return self.alive

    def kill(self) -> None:
        """End it at once, and wait for that."""
        if self.look():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.alive = False


def fork(name: str, play: Callable[[], int]) -> Fork:
    """Run `play` in a child, whose exit status it returns; `name` is what top shows.

    To be called before anything has threads or an event loop: neither gRPC nor ZeroMQ nor gevent's hub
    lives through a fork.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(name, play, parent)
    return Fork(name, pid)


class PortFork:
    """A fork that plays at the port that it is told later, since the port is found after the fork."""

    def __init__(self, name: str, play: Callable[[int], int]) -> None:
        read, self._write = os.pipe()
        self.fork = fork(name, lambda: play(int(os.read(read, 16))))
        os.close(read)

    def tell_port(self, port: int) -> None:
        """Let it play."""
        os.write(self._write, str(port).encode())
        os.close(self._write)


def set_name(name: str) -> None:
    """Name this process as top and ps -o comm show it; 15 characters count."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode())


def _become(name: str, play: Callable[[], int], parent: int) -> NoReturn:
    status = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # the parent died before the kernel knew that it matters
        set_name(name)
        status = play()
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
