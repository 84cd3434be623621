"""Carries finished rows from the event loop to the files and to Locust's statistics, a batch at a time."""

import csv
import io
import json
import os
from collections import deque
from pathlib import Path
from typing import Any

from lb.client import Row, Rows
from lb.rows import MESSAGE_COLUMNS, REQUEST_COLUMNS
from load.orchestra import Progress
from load.order import MESSAGES_FILE, REQUESTS_FILE, STATUS_FILE

_METHOD, _PLANNED, _DONE, _CODE = (
    list(REQUEST_COLUMNS).index(name) for name in ("method", "planned_ns", "done_ns", "code")
)


class CallFailedError(Exception):
    """What Locust counts as a failure: the call's gRPC code."""


class Bookkeeper:
    """Writes `rows` below `folder` and fires Locust's request event for each finished call.

    Rows reach the operating system with every batch, so a killed load process loses at most one batch.
    """

    def __init__(self, environment: Any, rows: Rows, folder: Path) -> None:
        self._environment = environment
        self._rows = rows
        self._status = folder / STATUS_FILE
        self._requests = _open(folder / REQUESTS_FILE, list(REQUEST_COLUMNS))
        self._messages: int | None = None
        self._messages_path = folder / MESSAGES_FILE
        self._answered = 0
        self._told = ""

    def batch(self, progress: Progress) -> None:
        """Take over every row that has been finished since the last batch."""
        # Messages first: a request row on disk then always has its message rows there too.
        if messages := _take(self._rows.messages):
            if self._messages is None:
                self._messages = _open(self._messages_path, list(MESSAGE_COLUMNS))
            _write(self._messages, messages)
        if requests := _take(self._rows.requests):
            _write(self._requests, requests)
            self._answered += len(requests)
            for row in requests:
                self._count(row)
        if requests or progress.state != self._told:
            self._tell(progress)

    def close(self) -> None:
        """Close the files."""
        os.close(self._requests)
        if self._messages is not None:
            os.close(self._messages)

    def _count(self, row: Row) -> None:
        code = str(row[_CODE])
        self._environment.events.request.fire(
            request_type="grpc",
            name=row[_METHOD],
            response_time=(int(row[_DONE]) - int(row[_PLANNED])) / 1e6,
            response_length=0,
            exception=None if code == "OK" else CallFailedError(code),
            context={},
        )

    def _tell(self, progress: Progress) -> None:
        temporary = self._status.with_suffix(".tmp")
        temporary.write_text(json.dumps(vars(progress) | {"answered": self._answered}))
        temporary.replace(self._status)
        self._told = progress.state


def _open(path: Path, header: list[str]) -> int:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    _write(file, [tuple(header)])
    return file


def _take(queue: deque[Row]) -> list[Row]:
    # popleft is atomic: the event loop's thread goes on appending meanwhile.
    return [queue.popleft() for _ in range(len(queue))]


def _write(file: int, rows: list[Row]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    data = memoryview(text.getvalue().encode())
    while data:
        data = data[os.write(file, data) :]
