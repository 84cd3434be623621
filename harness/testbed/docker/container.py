"""Containers of one cell: how they end, and how much CPU and memory they use."""

import csv
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException
from docker.models.containers import Container
from requests.exceptions import RequestException

from harness.errors import LabError
from harness.record.usage import USAGE_COLUMNS
from harness.testbed.processes import Process

ENGINE_ERRORS = (DockerException, RequestException)  # the engine refuses a request, or does not answer
SIGNAL_EXIT_STATUS = 128  # a container killed by signal N exits with 128 + N
USAGE_INTERVAL_S = 0.5  # the engine needs up to a second more to answer, because it samples once a second


class CellContainer:
    """One container and the state of its process. `state.status` is None while it runs or has not started."""

    def __init__(self, name: str, container: Container, log: Path) -> None:
        self.name = name
        self.container = container
        self.state = Process(name, 0, log)

    def set_ended(self, exit_status: int) -> None:
        """Record that the container's process has ended."""
        signalled = exit_status > SIGNAL_EXIT_STATUS
        self.state.status = SIGNAL_EXIT_STATUS - exit_status if signalled else exit_status

    def save_log(self) -> None:
        """Write the container's output so far to its log file."""
        with suppress(*ENGINE_ERRORS):
            self.state.log.write_bytes(self.container.logs())

    def remove(self) -> None:
        """Remove the container, running or not."""
        with suppress(*ENGINE_ERRORS):  # the end of the run removes what is left
            self.container.remove(force=True)


class ExitWatch:
    """Records in each of `containers` (container id -> container) when it ends.

    A thread reads the engine's events of the containers that have `label`.
    """

    def __init__(self, label: str, containers: dict[str, CellContainer]) -> None:
        self._containers = containers
        self._client = docker.from_env()
        filters = {"type": "container", "event": "die", "label": label}
        self._events = self._client.api.events(decode=True, filters=filters)
        self._closed = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._read_events, name="container-exits", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise LabError when the engine no longer sends events."""
        if self._failure is not None or not self._thread.is_alive():
            raise LabError(f"the Docker engine does not answer: {self._failure or 'its events have ended'}")

    def close(self) -> None:
        """Stop reading events."""
        self._closed = True
        self._events.close()
        self._thread.join(2)
        self._client.close()

    def _read_events(self) -> None:
        try:
            for event in self._events:
                container = self._containers.get(event["Actor"]["ID"])
                if container is not None:
                    container.set_ended(int(event["Actor"]["Attributes"]["exitCode"]))
        except Exception as error:  # check() reports it: after any error there are no more events
            if not self._closed:
                self._failure = error


class UsageWatch:
    """Writes a row for each container about every second into `path`. harness.record.usage has the columns.

    Each container has its own thread.
    """

    def __init__(self, containers: list[CellContainer], path: Path, epoch_ns: int) -> None:
        self._epoch_ns = epoch_ns
        self._ending = threading.Event()
        self._file = path.open("w", newline="")
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(USAGE_COLUMNS)
        self._writing = threading.Lock()
        self._threads = [
            threading.Thread(target=self._watch, args=(one,), name=f"usage-{one.name}", daemon=True)
            for one in containers
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Send no more requests to the engine. `close` waits for the answers that are still due."""
        self._ending.set()

    def close(self) -> None:
        """Stop; when this returns, all rows are on disk."""
        self.end()
        for thread in self._threads:
            thread.join()
        self._file.close()

    def _watch(self, container: CellContainer) -> None:
        while not self._ending.is_set():
            try:
                used = _usage(container)
                with self._writing:
                    self._rows.writerow((time.monotonic_ns() - self._epoch_ns, container.name, *used))
            except (*ENGINE_ERRORS, KeyError):
                pass  # a container that does not run uses nothing
            self._ending.wait(USAGE_INTERVAL_S)


def _usage(container: CellContainer) -> tuple[int, int]:
    """Return CPU time since the start in ns, and memory in bytes.

    Raises KeyError for a container that does not run.
    """
    stats: Any = container.container.stats(stream=False, one_shot=True)
    memory = stats["memory_stats"]
    # Like docker stats, do not count inactive file cache. Its name depends on the version of cgroups.
    files = memory["stats"].get("inactive_file", memory["stats"].get("total_inactive_file", 0))
    return stats["cpu_stats"]["cpu_usage"]["total_usage"], memory["usage"] - files


def engine_call(what: str, call: Any, *arguments: Any, **options: Any) -> None:
    """Call the engine about a container. Raises LabError, naming `what`, when the engine refuses.

    A container whose process has just ended (status 409) is not an error here: ExitWatch reports its end.
    """
    try:
        call(*arguments, **options)
    except APIError as error:
        if error.status_code != 409:
            raise LabError(f"the engine refused to {what}: {error.explanation}") from error
    except ENGINE_ERRORS as error:
        raise LabError(f"the engine did not {what}: {error}") from error


def host_pids(containers: Iterable[CellContainer], proc: Path = Path("/proc")) -> dict[str, int]:
    """Return name -> process id of each container that runs; empty if one of them is not visible here.

    The engine's ids are those of its machine. Where the lab has other ids, as in a container, the control
    group of the process does not name the container.
    """
    found: dict[str, int] = {}
    for one in containers:
        try:
            one.container.reload()
            if pid := int(one.container.attrs["State"]["Pid"]):
                if str(one.container.id) not in (proc / str(pid) / "cgroup").read_text():
                    return {}
                found[one.name] = pid
        except (*ENGINE_ERRORS, OSError):
            return {}
    return found
