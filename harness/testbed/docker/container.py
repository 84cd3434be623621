"""Containers of one cell, and a thread that hears from the engine how they end."""

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException
from docker.models.containers import Container
from requests.exceptions import RequestException

from harness.errors import LabError
from harness.testbed.processes import Process

ENGINE_ERRORS = (DockerException, RequestException)  # it refuses; it is not there
KILLED_BY = 128  # an exit status above is that much more than a signal's number


class Part:
    """One container, and what is known of its process. `state.status`: None while it runs or never did."""

    def __init__(self, name: str, container: Container, log: Path) -> None:
        self.container = container
        self.state = Process(name, 0, log)

    @property
    def name(self) -> str:
        return self.state.name

    def ended(self, exit_status: int) -> None:
        """Take note that its process has ended."""
        self.state.status = KILLED_BY - exit_status if exit_status > KILLED_BY else exit_status

    def save_log(self) -> None:
        """Write what it has printed so far to its log file."""
        with suppress(*ENGINE_ERRORS):
            self.state.log.write_bytes(self.container.logs())

    def remove(self) -> None:
        """Have the engine forget it, running or not."""
        with suppress(*ENGINE_ERRORS):  # what is left is removed at the end of the run
            self.container.remove(force=True)


class EndWatch:
    """Tells each of `parts` (container id -> part) when its process ends, from a thread of its own.

    Hears the engine's events of the containers that have `label`.
    """

    def __init__(self, label: str, parts: dict[str, Part]) -> None:
        self._parts = parts
        self._client = docker.from_env()
        filters = {"type": "container", "event": "die", "label": label}
        self._events = self._client.api.events(decode=True, filters=filters)
        self._closed = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._hear, name="container-ends", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise LabError when the engine does not tell any more."""
        if self._failure is not None or not self._thread.is_alive():
            raise LabError(f"the Docker engine has gone: {self._failure or 'its events have ended'}")

    def close(self) -> None:
        """Hear no more."""
        self._closed = True
        self._events.close()
        self._thread.join(2)
        self._client.close()

    def _hear(self) -> None:
        try:
            for event in self._events:
                self._take(event)
        except Exception as error:  # told by check(); whatever it is, nothing more will be heard
            if not self._closed:
                self._failure = error

    def _take(self, event: dict[str, Any]) -> None:
        part = self._parts.get(event["Actor"]["ID"])
        if part is not None:
            part.ended(int(event["Actor"]["Attributes"]["exitCode"]))


def engine_call(what: str, call: Any, *arguments: Any, **options: Any) -> None:
    """Ask the engine to do something to a container. Raises LabError naming `what` when it refuses.

    One whose process has ended meanwhile (409) is no failure: the end is told elsewhere.
    """
    try:
        call(*arguments, **options)
    except APIError as error:
        if error.status_code != 409:
            raise LabError(f"the engine refused to {what}: {error.explanation}") from error
    except ENGINE_ERRORS as error:
        raise LabError(f"the engine did not {what}: {error}") from error
