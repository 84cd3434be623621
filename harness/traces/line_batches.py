"""Reads log files, plain or gzip, as batches of whole lines. The next batch is read while one is parsed."""

from __future__ import annotations

import contextlib
import gzip
import queue
import stat
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from harness.errors import UserError

BATCH_BYTES = 16 << 20
MAX_LINE_BYTES = 1 << 20  # longer lines are broken; the longest that an ALB writes has some 20 kB
_PIECE_BYTES = 1 << 18
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class LineBatch:
    """Whole lines of one file. `first`: the number of the first line, from 1.

    `problem`: what ended or interrupted the file after these lines, in words; it counts as one broken line.
    """

    data: bytes
    first: int
    problem: str = ""


def first_bytes(path: Path, count: int = 1 << 16) -> bytes:
    """Return the beginning of the file's text. Raises UserError if the file cannot be read."""
    with _opened(path) as file:
        with contextlib.suppress(EOFError, zlib.error, gzip.BadGzipFile):
            return file.read(count)
        return b""


def line_batches(path: Path) -> Iterator[LineBatch]:
    """Yield the file's lines in batches of about BATCH_BYTES. A thread reads one batch ahead.

    Raises UserError if the file cannot be read.
    """
    waiting: queue.Queue[LineBatch | UserError | None] = queue.Queue(maxsize=1)
    stopped = threading.Event()

    def put(item: LineBatch | UserError | None) -> bool:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(item, timeout=0.1)
                return True
        return False

    def read() -> None:
        try:
            for batch in _read(path):
                if not put(batch):
                    return
            put(None)
        except UserError as error:
            put(error)

    reader = threading.Thread(target=read, name="trace-reader", daemon=True)
    reader.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, UserError):
                raise item
            yield item
    finally:
        stopped.set()
        reader.join()


def _read(path: Path) -> Iterator[LineBatch]:
    kept, first = b"", 1
    with _opened(path) as file:
        while True:
            chunk, problem = _chunk(file)
            data = kept + chunk
            # The last line may lack its end, but what damage has cut off is no line.
            end = len(data) if not chunk and not problem else data.rfind(b"\n") + 1
            whole, kept = data[:end], data[end:]
            if whole or problem:
                yield LineBatch(whole, first, problem)
            first += whole.count(b"\n") + (not whole.endswith(b"\n") and bool(whole))
            if problem or not chunk:
                return
            if len(kept) > MAX_LINE_BYTES:
                kept = b""
                _skip_line(file)
                yield LineBatch(b"", first, f"a line of more than {MAX_LINE_BYTES:,} bytes")
                first += 1


def _chunk(file: BinaryIO) -> tuple[bytes, str]:
    """Return the next bytes of the file, and what is wrong with it in words. Damaged gzip ends the file."""
    pieces, size, problem = [], 0, ""
    try:
        # Piece by piece, so that what stands before the damage is not lost.
        while size < BATCH_BYTES and (piece := file.read1(_PIECE_BYTES)):  # type: ignore[attr-defined]
            pieces.append(piece)
            size += len(piece)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        problem = f"the gzip data is damaged or cut off ({error})"
    except OSError as error:
        problem = f"the file cannot be read any further ({error.strerror or error})"
    return b"".join(pieces), problem


def _skip_line(file: BinaryIO) -> None:
    """Read up to the end of the line."""
    with contextlib.suppress(EOFError, zlib.error, OSError):
        while (piece := file.readline(MAX_LINE_BYTES)) and not piece.endswith(b"\n"):
            pass


def _opened(path: Path) -> BinaryIO:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UserError(f"{path}: expected a log file, found a folder or a device; name the files in it")
        with path.open("rb") as file:
            zipped = file.read(2) == _GZIP
        # Not by the name: S3 clients unzip some files and keep the name.
        return gzip.open(path, "rb") if zipped else path.open("rb")  # type: ignore[return-value]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
