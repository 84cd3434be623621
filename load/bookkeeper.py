"""Carries finished rows from the event loop onward and into Locust's statistics, a batch at a time."""

from collections import deque
from collections.abc import Callable
from typing import Any

from lb.client import Row, Rows
from lb.rows import REQUEST_COLUMNS
from load.orchestra import Progress
from load.rowfiles import Batch, csv_text

_METHOD, _PLANNED, _DONE, _CODE = (
    list(REQUEST_COLUMNS).index(name) for name in ("method", "planned_ns", "done_ns", "code")
)


class CallFailedError(Exception):
    """What Locust counts as a failure: the call's gRPC code."""


class Bookkeeper:
    """Hands `rows` to `put` and fires Locust's request event for each finished call."""

    def __init__(self, environment: Any, rows: Rows, put: Callable[[Batch], None]) -> None:
        self._environment = environment
        self._rows = rows
        self._put = put

    def batch(self, progress: Progress) -> None:
        """Take over every row that has been finished since the last batch."""
        messages = _take(self._rows.messages)
        requests = _take(self._rows.requests)
        if messages or requests:
            measured = _measured(requests, progress.measure_start_ns)
            self._put(Batch(csv_text(messages), csv_text(requests), len(requests), measured))
        for row in requests:
            self._count(row)

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


def _measured(requests: list[Row], start_ns: int) -> int:
    """How many of them were planned for `start_ns` (0: not known yet) or later."""
    return sum(int(row[_PLANNED]) >= start_ns for row in requests) if start_ns else 0


def _take(queue: deque[Row]) -> list[Row]:
    # popleft is atomic: the event loop's thread goes on appending meanwhile.
    return [queue.popleft() for _ in range(len(queue))]
