"""A replica forked from a process that has imported its modules, as the lab forks its replicas.

`python -m services.replica` takes most of a second of a core for its imports, and tests start hundreds.
"""

import itertools
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness.testbed.processes import Process, ProcessFamily

MODULE = "services.replica"
ENDS_WITHIN_S = 60.0  # on a busy machine
_numbers = itertools.count()


class ForkedReplica:
    """What tests use of subprocess.Popen, for a child of the fork server."""

    def __init__(self, family: ProcessFamily, args: Sequence[str], log: Path) -> None:
        self._family = family
        self._process: Process = family.spawn_module(f"replica-{next(_numbers)}", MODULE, args, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status; None while it runs, or as long as nobody has asked with `poll` or `wait`."""
        return self._process.status

    def poll(self) -> int | None:
        self._family.read_messages()
        return self._process.status

    def wait(self, timeout: float = ENDS_WITHIN_S) -> int:
        if self._family.wait([self._process], timeout):
            raise subprocess.TimeoutExpired(MODULE, timeout)
        assert self._process.status is not None
        return self._process.status

    def communicate(self, timeout: float = ENDS_WITHIN_S) -> tuple[str, str]:
        """Wait for the end; return what it wrote to standard output, one line, and to standard error."""
        self.wait(timeout)
        written = self._process.log.read_text().splitlines(keepends=True)
        told = [line for line in written if " serves on " in line]
        return "".join(told), "".join(line for line in written if line not in told)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
