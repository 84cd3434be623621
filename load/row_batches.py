"""Batches of finished rows: taken from the load engine, counted by Locust, written to the run directory."""

import csv
import io
import json
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import gevent
import gevent.event

from lb.client import Row, Rows
from lb.rows import MESSAGE_COLUMNS, REQUEST_COLUMNS
from load.engine import Progress
from load.locust_adapter import FinishedCall, add_calls
from load.order import FAILURES_FILE, MESSAGES_FILE, REQUESTS_FILE, LoadStatus

BATCH_INTERVAL_S = 0.2  # between two batches while measuring
STATUS_INTERVAL_S = 0.5  # between two writes of the count of answers, which only people watch meanwhile
POLL_INTERVAL_S = 0.02  # before measuring: the harness must learn soon when measuring starts

_METHOD, _PLANNED, _DONE, _CODE, _REPLICA = (
    list(REQUEST_COLUMNS).index(name) for name in ("method", "planned_ns", "done_ns", "code", "replica")
)
MAX_MESSAGES, MAX_MESSAGE_LENGTH = 50, 500
OTHER_MESSAGES = "(other messages)"
NO_ANSWER = "(no answer)"  # on Locust's page, in place of a replica


Taken = TypeVar("Taken")


class RowBatch(NamedTuple):
    """Finished rows as CSV text without headers.

    `rows`: number of request rows. `measured`: how many of them were planned for the measured window.
    `failures`: [code, message, number of requests] of those that failed.
    """

    messages: str
    requests: str
    rows: int
    measured: int
    failures: list[tuple[str, str, int]]


class RowCollector:
    """Passes finished rows to `deliver`, and adds the finished calls to Locust's statistics.

    Locust's page has a row for each method and replica.
    """

    def __init__(self, environment: Any, rows: Rows, deliver: Callable[[RowBatch], None]) -> None:
        self._environment = environment
        self._rows = rows
        self._deliver = deliver

    def collect(self, progress: Progress) -> None:
        """Deliver all rows that were finished since the last call as one batch."""
        messages = _take_all(self._rows.messages)
        requests = _take_all(self._rows.requests)
        failures = Counter(_take_all(self._rows.failures))
        if messages or requests or failures:
            measured = _count_measured(requests, progress.measure_start_ns)
            counted = [(code, message, calls) for (code, message), calls in failures.items()]
            texts = _csv_text(messages), _csv_text(requests)
            self._deliver(RowBatch(*texts, len(requests), measured, counted))
        add_calls(self._environment.stats, _finished_calls(requests))


def _finished_calls(requests: list[Row]) -> Iterator[FinishedCall]:
    for row in requests:
        took_ms = (int(row[_DONE]) - int(row[_PLANNED])) / 1e6
        yield FinishedCall(str(row[_METHOD]), str(row[_REPLICA]) or NO_ANSWER, took_ms, str(row[_CODE]))


def _count_measured(requests: list[Row], start_ns: int) -> int:
    """Return how many requests were planned for `start_ns` or later; 0 while `start_ns` is 0 (not known)."""
    return sum(int(row[_PLANNED]) >= start_ns for row in requests) if start_ns else 0


def _take_all(queue: deque[Taken]) -> list[Taken]:
    # The event loop's thread may append meanwhile: popleft is atomic.
    return [queue.popleft() for _ in range(len(queue))]


def _csv_text(rows: list[Row]) -> str:
    """Return the rows as lines of CSV, without a header."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


class RowFiles:
    """The files of rows and the status file of a load, in `folder`.

    Each batch is written to the operating system at once, so a killed load process loses one batch at most.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._requests = _open(folder / REQUESTS_FILE, list(REQUEST_COLUMNS))
        self._messages: int | None = None
        self._messages_path = folder / MESSAGES_FILE
        self._failures: Counter[tuple[str, str]] = Counter()
        self._failures_path = folder / FAILURES_FILE
        self._answered = 0
        self._last_status: tuple[str, int] | None = None
        self._status_s = 0.0  # when it was written

    def append(self, batch: RowBatch) -> None:
        """Append a batch to the files."""
        # Messages first: when a request row is on disk, its message rows are there too.
        if batch.messages:
            if self._messages is None:
                self._messages = _open(self._messages_path, list(MESSAGE_COLUMNS))
            _write(self._messages, batch.messages)
        _write(self._requests, batch.requests)
        self._answered += batch.rows
        if batch.failures:
            self._count_failures(batch.failures)

    def _count_failures(self, failures: Iterable[tuple[str, str, int]]) -> None:
        """Add failed requests to the file of failures. Messages may name a port or a time: some are kept."""
        for code, message, calls in failures:
            key = (code, message[:MAX_MESSAGE_LENGTH])
            known = key in self._failures or len(self._failures) < MAX_MESSAGES
            self._failures[key if known else (code, OTHER_MESSAGES)] += calls
        most = [
            {"code": code, "message": message, "calls": calls}
            for (code, message), calls in self._failures.most_common()
        ]
        temporary = self._failures_path.with_suffix(".tmp")
        temporary.write_text(json.dumps(most))
        temporary.replace(self._failures_path)

    def write_status(self, progress: Progress, *, at_end: bool = False) -> None:
        """Write the progress and the number of finished calls to the status file, if they have changed.

        While measuring, the number alone is written once in STATUS_INTERVAL_S: to write a file costs as much
        CPU time as to write the rows of a hundred calls. `at_end`: it is written in any case. A load that is
        stopped may still say that it measures.
        """
        if self._last_status == (progress.state, self._answered):
            return
        now_s = time.monotonic()
        measuring = progress.state == "measure" and self._last_status and self._last_status[0] == "measure"
        if measuring and not at_end and now_s < self._status_s + STATUS_INTERVAL_S:
            return
        self._status_s = now_s
        LoadStatus(**vars(progress), answered=self._answered).write(self._folder)
        self._last_status = (progress.state, self._answered)

    def close(self) -> None:
        """Close the files."""
        os.close(self._requests)
        if self._messages is not None:
            os.close(self._messages)


class EndingLoad(Protocol):
    """A load that tells when it has ended."""

    def call_at_end(self, ended: Callable[[], object]) -> None:
        """Have `ended` called, in any thread, once a load that was started has finished."""
        ...


class Load(EndingLoad, Protocol):
    """A load that runs in this process."""

    @property
    def progress(self) -> Progress: ...  # how far it is

    def start(self) -> None: ...  # returns at once

    def finished(self) -> bool: ...  # raises the error of a load that has failed


@contextmanager
def awake_at_end(load: EndingLoad, wake: Callable[[], object]) -> Iterator[None]:
    """Have `wake` called in gevent's thread once the load, which was started, has finished."""
    # The only part of gevent that another thread, as that of the load engine, may call.
    watcher = gevent.get_hub().loop.async_()
    watcher.start(wake)
    try:
        load.call_at_end(watcher.send)
        yield
    finally:
        watcher.close()


def record_to_end(load: Load, collector: RowCollector, files: RowFiles) -> None:
    """Start a load, and write its rows and status until it has finished. The files are closed in any case."""
    ended = gevent.event.Event()
    try:
        load.start()
        with awake_at_end(load, ended.set):
            while not load.finished():
                ended.wait(BATCH_INTERVAL_S if load.progress.state == "measure" else POLL_INTERVAL_S)
                collector.collect(load.progress)
                files.write_status(load.progress)
    finally:
        collector.collect(load.progress)
        files.write_status(load.progress, at_end=True)
        files.close()


def _open(path: Path, header: list[str]) -> int:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    _write(file, _csv_text([tuple(header)]))
    return file


def _write(file: int, text: str) -> None:
    data = memoryview(text.encode())
    while data:
        data = data[os.write(file, data) :]
