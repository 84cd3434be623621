"""The fork server: imports a module once, forks a process for each request, and ends all of them at its end.

`python -m harness.testbed.forkserver MODULE` imports the module. It then reads requests from standard input
and writes messages to standard output, one JSON object a line:

    {"spawn": NAME, "module": MODULE, "args": [...], "log": PATH}    run MODULE.main(args) in a fork
    {"spawn": NAME, "exec": [PROGRAM, ...], "log": PATH}             run a program
    {"signal": NUMBER, "name": NAME}                                 send a signal, if the child is alive
    {"log": PATH}                                                    write errors of its own to another log
    -> {"spawned": NAME, "pid": PID}
    -> {"exited": NAME, "status": N}                                 N < 0: killed by signal -N

It has a single thread, so that forking is safe. It imports gRPC but does not use it, because gRPC must not be
used before a fork. Standard input closes when the harness ends for any reason; the fork server then kills its
children and exits. If the fork server dies, the kernel kills its children (PR_SET_PDEATHSIG).
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
from typing import Any, NoReturn

from harness.paths import ROOT

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15


class ForkServer:
    """Starts, signals and reaps the child processes, each known by its name."""

    def __init__(self) -> None:
        self._pids: dict[str, int] = {}
        self._pending = b""
        self._wakeup, wakeup_write = os.pipe()
        for end in (self._wakeup, wakeup_write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wakeup_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Handle requests until standard input closes."""
        selector = DefaultSelector()
        selector.register(0, EVENT_READ)
        selector.register(self._wakeup, EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd == self._wakeup:
                    os.read(self._wakeup, 4096)
                    self._reap()
                elif not self._handle_requests():
                    return self._kill_all()

    def _handle_requests(self) -> bool:
        """Handle the requests that standard input has; return False once it is closed."""
        data = os.read(0, 65536)
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            if "spawn" in request:
                self._spawn(request)
            elif "log" in request:
                _write_errors_to(request["log"])
            elif request["name"] in self._pids:
                os.kill(self._pids[request["name"]], request["signal"])
        return bool(data)

    def _spawn(self, request: dict[str, Any]) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _run_child(request, parent)
        self._pids[request["spawn"]] = pid
        _write_message({"spawned": request["spawn"], "pid": pid})

    def _reap(self) -> None:
        for name, pid in list(self._pids.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                del self._pids[name]
                _write_message({"exited": name, "status": os.waitstatus_to_exitcode(status)})

    def _kill_all(self) -> None:
        for pid in self._pids.values():
            os.kill(pid, signal.SIGKILL)
        for pid in self._pids.values():
            os.waitpid(pid, 0)


def _run_child(request: dict[str, Any], parent: int) -> NoReturn:
    """Run the requested module or program in the forked child. Never returns."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        prctl = ctypes.CDLL(None).prctl
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        prctl(PR_SET_NAME, request["spawn"].encode())  # the name that top and ps -o comm show
        if os.getppid() != parent:
            os._exit(1)  # the parent died before PR_SET_PDEATHSIG was set
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.closerange(3, 256)
        if "exec" in request:
            os.execv(request["exec"][0], request["exec"])  # noqa: S606 - no shell is needed
        status = importlib.import_module(request["module"]).main(request["args"])
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _write_errors_to(path: str) -> None:
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 2)
    os.close(log)


def _write_message(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def main(module: str) -> None:
    """Import `module`, then handle requests."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends it without a traceback in the log
    # Each client is a connection. The usual soft limit of 1,024 open files is too low for a large load.
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    sys.path.insert(0, str(ROOT))
    gc.disable()  # it would take a tenth of the imports' CPU time, and find nothing
    importlib.import_module(module)
    gc.enable()
    gc.freeze()  # so that garbage collection does not write to, and so copy, the pages shared with children
    ForkServer().serve()


if __name__ == "__main__":
    main(sys.argv[1])
