"""The harness's side of a fork server: starts processes, notices when they end, and stops them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import Any

from harness.errors import LabError
from harness.paths import ROOT

START_TIMEOUT_S = 30.0
LOAD_STOP_TIMEOUT_S = 1.0


@dataclass
class Process:
    """One process of the lab.

    `status`: its exit status; None while it runs; -N if signal N killed it. `end_expected`: the lab itself
    ends it during the cell.
    """

    name: str
    pid: int
    log: Path
    status: int | None = None
    end_expected: bool = False

    def describe_end(self) -> str:
        """Return how it ended and the log to read, for an error message."""
        assert self.status is not None
        how = f"was killed by {signal.Signals(-self.status).name}" if self.status < 0 else "exited"
        return f"{self.name} {how} (status {self.status}); see {self.log}"


class ProcessFamily:
    """All processes forked from one fork server, which imports `module`.

    Create it in the harness's main thread, and always close it. The import runs in the background; the first
    spawn waits until it is done.
    """

    def __init__(self, module: str, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        self._processes: dict[str, Process] = {}
        self._pending = b""
        with log.open("ab") as stderr:
            self._server = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "harness.testbed.forkserver", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=ROOT,
                env={**os.environ, **environment},
                start_new_session=True,  # so that Ctrl-C in the terminal reaches only the harness
            )
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._requests, self._messages = self._server.stdin, self._server.stdout
        self._selector = DefaultSelector()
        self._selector.register(self._messages, EVENT_READ)

    @property
    def alive(self) -> bool:
        """Whether the fork server runs."""
        return self._server.poll() is None

    def log_to(self, log: Path) -> None:
        """Have the fork server write to another log from now on."""
        self._log = log
        self._send({"log": str(log)})

    def spawn_module(self, name: str, module: str, args: Sequence[str], log: Path) -> Process:
        """Run `module.main(args)` in a fork; its output goes to `log`."""
        return self._spawn({"spawn": name, "module": module, "args": list(args), "log": str(log)})

    def spawn_program(self, name: str, argv: Sequence[str], log: Path) -> Process:
        """Run a program; its output goes to `log`."""
        return self._spawn({"spawn": name, "exec": list(argv), "log": str(log)})

    def send_signal(self, process: Process, number: signal.Signals) -> None:
        """Send a signal to `process` if it is still alive."""
        self._send({"signal": int(number), "name": process.name})

    def read_messages(self, timeout_s: float = 0.0) -> None:
        """Read the fork server's messages; wait up to `timeout_s` for the first."""
        if not self._selector.select(timeout_s):
            return
        data = os.read(self._messages.fileno(), 65536)
        if not data:
            raise LabError(f"the fork server has died (status {self._server.wait()}); see {self._log}")
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "spawned" in message:
                name = message["spawned"]
                self._processes[name] = Process(name, message["pid"], self._log)
            elif "exited" in message:
                self._processes[message["exited"]].status = message["status"]

    def wait(self, processes: Iterable[Process], timeout_s: float) -> list[Process]:
        """Wait until all `processes` have ended; return those that still run after `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        running = list(processes)
        while running := [process for process in running if process.status is None]:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or self._server.poll() is not None:
                break
            self.read_messages(left_s)
        return running

    def end(
        self, processes: Sequence[Process], timeout_s: float, number: signal.Signals = signal.SIGTERM
    ) -> None:
        """Send a signal to `processes`, and SIGKILL to those that still run after `timeout_s`."""
        # LabError means that the fork server has died. Then the kernel has killed its processes.
        with suppress(LabError):
            for process in processes:
                self.send_signal(process, signal.SIGCONT)  # a stopped process handles no other signal
                self.send_signal(process, number)
            for process in self.wait(processes, timeout_s):
                self.send_signal(process, signal.SIGKILL)
            self.wait(processes, timeout_s)

    def close(self) -> None:
        """Kill all processes of the family that still run, and the fork server."""
        self._selector.close()
        with suppress(BrokenPipeError):  # the fork server died before it read a request
            self._requests.close()
        try:
            self._server.wait(2)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._messages.close()

    def _spawn(self, request: dict[str, Any]) -> Process:
        name = request["spawn"]
        self._processes.pop(name, None)
        self._send(request)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while name not in self._processes:
            self.read_messages(deadline_s - time.monotonic())
            if time.monotonic() > deadline_s:
                late = f"the fork server did not start {name} in {START_TIMEOUT_S:g} s"
                raise LabError(f"{late}; see {self._log}")
        process = self._processes[name]
        process.log = Path(request["log"])
        return process

    def _send(self, request: dict[str, Any]) -> None:
        try:
            self._requests.write(json.dumps(request).encode() + b"\n")
            self._requests.flush()
        except BrokenPipeError as error:
            raise LabError(f"the fork server has died; see {self._log}") from error


class ForkServers:
    """The fork servers of one run after the other. Kept from run to run, they import their modules once."""

    def __init__(self) -> None:
        self._families: dict[str, ProcessFamily] = {}

    def family(self, module: str, environment: Mapping[str, str], log: Path) -> ProcessFamily:
        """Return the family of the fork server that imports `module`; it writes to `log` from now on.

        Call it in the main thread, and always close what it returns with `close`.
        """
        known = self._families.pop(module, None)
        if known is not None and not known.alive:
            known.close()
            known = None
        if known is None:
            known = ProcessFamily(module, environment, log)
        else:
            known.log_to(log)
        self._families[module] = known
        return known

    def close(self) -> None:
        """End all fork servers, and kill their processes that still run."""
        with ExitStack() as closing:
            while self._families:
                closing.callback(self._families.popitem()[1].close)


class LoadOnThisMachine:
    """The methods of a testbed that runs the load as a process on this machine."""

    _load_family: ProcessFamily
    _load: Process | None = None

    def _prepare_load(self, log: Path, servers: ForkServers | None = None) -> None:
        """Import Locust in the background while other components start. Call it in the main thread.

        servers: fork servers that are kept; None: the caller closes the new one, `_load_family`.
        """
        servers = servers or ForkServers()
        self._load_family = servers.family("load.main", {"LOCUST_SKIP_MONKEY_PATCH": "1"}, log)

    def start_load(self, order: Path, folder: Path) -> Process:
        log = folder / "logs" / "load.log"
        self._load = self._load_family.spawn_module("load", "load.main", [str(order)], log)
        return self._load

    def load_status(self) -> int | None:
        assert self._load is not None
        self._load_family.read_messages()
        return self._load.status

    def wait_for_load(self, timeout_s: float) -> None:
        assert self._load is not None
        self._load_family.wait([self._load], timeout_s)

    def stop_load(self) -> None:
        if self._load is not None:
            self._load_family.end([self._load], LOAD_STOP_TIMEOUT_S)
