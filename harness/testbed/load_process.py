"""The load process on this machine."""

from pathlib import Path

from harness.testbed.processes import Process, ProcessFamily

STOP_TIMEOUT_S = 1.0


class LoadProcess:
    """Starts and stops the load process. `log`: the fork server's log.

    Create it in the main thread, and always close it. It imports Locust in the background while other
    components start.
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
        """Process id of the load process that was started last."""
        assert self._process is not None
        return self._process.pid

    def status(self) -> int | None:
        """Return the exit status of the load process that was started last; None while it runs."""
        assert self._process is not None
        self._family.read_messages()
        return self._process.status

    def stop(self) -> None:
        """Stop the load process early, if it runs. When this returns, all finished requests are on disk."""
        if self._process is not None:
            self._family.end([self._process], STOP_TIMEOUT_S)

    def close(self) -> None:
        """Kill the load process and its fork server."""
        self._family.close()
