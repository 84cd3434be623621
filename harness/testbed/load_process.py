"""The load as one process on this machine, whatever it is sent to."""

from pathlib import Path

from harness.testbed.processes import Process, ProcessFamily

STOP_TIMEOUT_S = 1.0


class LoadProcess:
    """To be made in the main thread and closed whatever happens; `log`: of the fork server.

    Locust's imports run from the first moment on, beside whatever else is started.
    """

    def __init__(self, log: Path) -> None:
        self._family = ProcessFamily("load.main", {"LOCUST_SKIP_MONKEY_PATCH": "1"}, log)
        self._process: Process | None = None

    def start(self, order: Path, folder: Path) -> Process:
        """Play the order in that file; the log goes below `folder`."""
        log = folder / "logs" / "load.log"
        self._process = self._family.spawn_module("load", "load.main", [str(order)], log)
        return self._process

    @property
    def pid(self) -> int:
        """Process id of the one that was started last."""
        assert self._process is not None
        return self._process.pid

    def status(self) -> int | None:
        """Exit status of the process that was started last, None while it runs."""
        assert self._process is not None
        self._family.hear()
        return self._process.status

    def stop(self) -> None:
        """End it early, if there is one; what was finished is on disk when this returns."""
        if self._process is not None:
            self._family.end([self._process], STOP_TIMEOUT_S)

    def close(self) -> None:
        """Kill what is left."""
        self._family.close()
