"""The replica's ledger: a CSV file with a row for each call of VideoService, written before the answer."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from services.call import Call
from services.lab_control_pb2 import LedgerRow

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

_HEADER = (",".join(COLUMNS) + "\n").encode()
_TEXT = frozenset({"method", "peer", "code"})
_CHUNK_BYTES = 1 << 16


class Ledger:
    """A CSV file to which rows are appended. A killed process loses no row: each row is one write.

    An existing file is continued; an incomplete last row is removed. Without a path the file is temporary
    and is deleted with the process. Raises OSError if the file cannot be opened.
    """

    def __init__(self, path: Path | None) -> None:
        self._fd = _open(path)
        _drop_incomplete_row(self._fd)
        if os.fstat(self._fd).st_size == 0:
            os.write(self._fd, _HEADER)

    def append(self, call: Call, done_ns: int, code: str) -> None:
        """Write the row of a call that has ended. `done_ns`: from the epoch. `code`: a gRPC code name."""
        row = (
            f"{call.request_id},{call.method},{call.peer},{call.arrived_ns},{done_ns},"
            f"{call.queue_ns},{call.service_ns},{call.in_flight},{call.messages},{code}\n"
        )
        os.write(self._fd, row.encode())

    @property
    def end(self) -> int:
        """The position at which the next row will be written."""
        return os.fstat(self._fd).st_size

    def rows(self, after: int = 0) -> Iterator[LedgerRow]:
        """Return the rows in the file, oldest first. after: an earlier `end`: only what was written later.

        Raises ValueError for a position at which no row begins.
        """
        offset = max(after, len(_HEADER))
        if offset > self.end or os.pread(self._fd, 1, offset - 1) != b"\n":
            raise ValueError(f"no row of the ledger begins at {after}")
        return self._rows_from(offset)

    def _rows_from(self, offset: int) -> Iterator[LedgerRow]:
        rest = b""
        while chunk := os.pread(self._fd, _CHUNK_BYTES, offset):
            offset += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield _parse(line.decode())

    def close(self) -> None:
        """Close the file. No row can be written after that."""
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


def _drop_incomplete_row(fd: int) -> None:
    """Remove what follows the last line end. A kill or a full disk may leave a part of a write."""
    size = os.fstat(fd).st_size
    end = os.pread(fd, _CHUNK_BYTES, max(0, size - _CHUNK_BYTES))
    if incomplete := len(end) - end.rfind(b"\n") - 1:
        os.ftruncate(fd, size - incomplete)
