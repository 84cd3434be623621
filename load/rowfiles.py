"""The files of a load below its folder: rows of requests and messages, and where the performance stands."""

import csv
import io
import os
from pathlib import Path
from typing import NamedTuple

from lb.client import Row
from lb.rows import MESSAGE_COLUMNS, REQUEST_COLUMNS
from load.orchestra import Progress
from load.order import MESSAGES_FILE, REQUESTS_FILE, LoadStatus


class Batch(NamedTuple):
    """Finished rows as CSV text; `rows`: how many of requests, `measured`: of these, those in the window."""

    messages: str
    requests: str
    rows: int
    measured: int


def csv_text(rows: list[Row]) -> str:
    """The rows as lines of CSV, without a header."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


class RowFiles:
    """Rows reach the operating system with every batch, so a killed load process loses at most one batch."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._requests = _open(folder / REQUESTS_FILE, list(REQUEST_COLUMNS))
        self._messages: int | None = None
        self._messages_path = folder / MESSAGES_FILE
        self._answered = 0
        self._told: tuple[str, int] | None = None

    def put(self, batch: Batch) -> None:
        """Append a batch."""
        # Messages first: a request row on disk then always has its message rows there too.
        if batch.messages:
            if self._messages is None:
                self._messages = _open(self._messages_path, list(MESSAGE_COLUMNS))
            _write(self._messages, batch.messages)
        _write(self._requests, batch.requests)
        self._answered += batch.rows

    def tell(self, progress: Progress) -> None:
        """Leave the progress and the number of answers for the harness, where they are news."""
        if self._told == (progress.state, self._answered):
            return
        LoadStatus(**vars(progress), answered=self._answered).write(self._folder)
        self._told = (progress.state, self._answered)

    def close(self) -> None:
        """Close the files."""
        os.close(self._requests)
        if self._messages is not None:
            os.close(self._messages)


def _open(path: Path, header: list[str]) -> int:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    _write(file, csv_text([tuple(header)]))
    return file


def _write(file: int, text: str) -> None:
    data = memoryview(text.encode())
    while data:
        data = data[os.write(file, data) :]
