"""A small parent for the lab's processes: imports once, forks often, and takes every child down with it.

`python -m harness.testbed.forkserver MODULE` imports the module, then obeys one JSON object a line on
standard input and tells one JSON object a line on standard output:

    {"spawn": NAME, "module": MODULE, "args": [...], "log": PATH}    run MODULE.main(args) in a fork
    {"spawn": NAME, "exec": [PROGRAM, ...], "log": PATH}             run a program
    {"signal": NUMBER, "name": NAME}                                 only while the child is alive
    -> {"spawned": NAME, "pid": PID}
    -> {"exited": NAME, "status": N}                                 N < 0: killed by signal -N

It has a single thread, so forking is safe, and only imports: gRPC may not be used before a fork. When
standard input closes, as it does when the harness dies in any way, it kills its children and exits. When it
dies itself, the kernel kills them (PR_SET_PDEATHSIG).
"""

import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import sys
import traceback
from selectors import EVENT_READ, DefaultSelector
from typing import Any

from harness.paths import ROOT

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15


class ForkServer:
    """The children by name, and the loop that starts, signals and reaps them."""

    def __init__(self) -> None:
        self._pids: dict[str, int] = {}
        self._pending = b""
        self._wakeup, wakeup_write = os.pipe()
        for end in (self._wakeup, wakeup_write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wakeup_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Obey until standard input closes."""
        selector = DefaultSelector()
        selector.register(0, EVENT_READ)
        selector.register(self._wakeup, EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd == self._wakeup:
                    os.read(self._wakeup, 4096)
                    self._reap()
                elif not self._obey():
                    return self._kill_all()

    def _obey(self) -> bool:
        data = os.read(0, 65536)
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            order = json.loads(line)
            if "spawn" in order:
                self._spawn(order)
            elif order["name"] in self._pids:
                os.kill(self._pids[order["name"]], order["signal"])
        return bool(data)

    def _spawn(self, order: dict[str, Any]) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become(order, parent)
        self._pids[order["spawn"]] = pid
        _tell({"spawned": order["spawn"], "pid": pid})

    def _reap(self) -> None:
        for name, pid in list(self._pids.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                del self._pids[name]
                _tell({"exited": name, "status": os.waitstatus_to_exitcode(status)})

    def _kill_all(self) -> None:
        for pid in self._pids.values():
            os.kill(pid, signal.SIGKILL)
        for pid in self._pids.values():
            os.waitpid(pid, 0)


def _become(order: dict[str, Any], parent: int) -> None:
    """In the fork: turn into what was ordered. Never returns."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        prctl = ctypes.CDLL(None).prctl
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        prctl(PR_SET_NAME, order["spawn"].encode())  # what top and ps -o comm show: replica-0, load
        if os.getppid() != parent:
            os._exit(1)  # the parent died before the kernel knew that it matters
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.closerange(3, 256)
        if "exec" in order:
            os.execv(order["exec"][0], order["exec"])  # noqa: S606 - meant: there is no shell to need
        status = importlib.import_module(order["module"]).main(order["args"])
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _tell(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def main(module: str) -> None:
    """Import `module`, then serve."""
    # A client is a connection, so the customary soft limit of 1024 open files would stop a large load.
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    sys.path.insert(0, str(ROOT))
    importlib.import_module(module)
    gc.freeze()  # keeps the collector from touching, and so copying, the pages shared with the children
    ForkServer().serve()


if __name__ == "__main__":
    main(sys.argv[1])
