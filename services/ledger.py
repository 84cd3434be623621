"""The replica's own ledger: one CSV row per call of VideoService, in the file before the answer leaves."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from services.call import Call
from services.video_service_pb2 import LedgerRow

COLUMNS = (
    "request_id",
    "method",
    "peer",
    "arrived_ns",
    "done_ns",
    "queue_ns",
    "service_ns",
    "in_flight",
    "messages",
    "code",
)

_TEXT = frozenset({"method", "peer", "code"})
_CHUNK_BYTES = 1 << 16


class Ledger:
    """An append-only CSV file; each row is one write, so a killed process loses no row already written.

    A file that is there already is continued, without a torn last row. Without a path the file has no name
    and goes with the process. Raises OSError if it cannot be opened.
    """

    def __init__(self, path: Path | None) -> None:
        self._fd = _open(path)
        _drop_torn_row(self._fd)
        if os.fstat(self._fd).st_size == 0:
            os.write(self._fd, (",".join(COLUMNS) + "\n").encode())

    def append(self, call: Call, done_ns: int, code: str) -> None:
        """Write the row of a call that is over. `done_ns` is from the epoch, `code` a gRPC name."""
        row = (
            f"{call.request_id},{call.method},{call.peer},{call.arrived_ns},{done_ns},"
            f"{call.queue_ns},{call.service_ns},{call.in_flight},{call.messages},{code}\n"
        )
        os.write(self._fd, row.encode())

    def rows(self) -> Iterator[LedgerRow]:
        """The rows that are there now, oldest first."""
        offset, rest, header = 0, b"", True
        while chunk := os.pread(self._fd, _CHUNK_BYTES, offset):
            offset += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines[header:]:
                yield _parse(line.decode())
            header = header and not lines

    def close(self) -> None:
        """Close the file; nothing can be written from now on."""
        os.close(self._fd)


def _parse(line: str) -> LedgerRow:
    texts = zip(COLUMNS, line.split(","), strict=True)
    row: dict[str, Any] = {name: text if name in _TEXT else int(text) for name, text in texts}
    return LedgerRow(**row)


def _open(path: Path | None) -> int:
    if path is None:
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _drop_torn_row(fd: int) -> None:
    """Cut off what follows the last line end: a kill or a full disk may leave a part of one write."""
    size = os.fstat(fd).st_size
    end = os.pread(fd, _CHUNK_BYTES, max(0, size - _CHUNK_BYTES))
    if torn := len(end) - end.rfind(b"\n") - 1:
        os.ftruncate(fd, size - torn)
