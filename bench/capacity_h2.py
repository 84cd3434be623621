"""The cheapest gRPC peers there are: HTTP/2 frames made beforehand, so that they can busy any other part.

`python -m bench.capacity_h2 answer N` answers any call on N ports of loopback and prints their addresses.
`python -m bench.capacity_h2 drive HOST:PORT CONNECTIONS RATE SECONDS` calls AddVideo, RATE times a second or,
with 0, as fast as it is answered; it prints the calls answered so far, ten times a second.

Neither looks into header blocks. What lets them is in RFC 9113 (frames) and RFC 7541 (HPACK): a first block
puts its fields into the other side's table, later ones name them by their place there.
"""

import asyncio
import itertools
import json
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, cast

import uvloop

from lb.calls import video_texts
from services import video_service_pb2 as pb

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LARGEST_WINDOW = 2**31 - 1
FIRST_DYNAMIC = 62  # place of the newest field in the other side's table
DEPTH = 4  # calls at once on a connection, at full speed
MOST_IN_FLIGHT = 100  # on a connection; the lab's Envoy takes 128
TICK_S, TELL_S = 0.001, 0.1
NAMELESS = "x-lab-request-id"

REQUEST = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/video_service.VideoService/AddVideo"),
    (":authority", "lab"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
    ("user-agent", "lb-lab-bench"),
    ("x-lab-session", "0.0"),
)
ANSWER = (
    (":status", "200"),
    ("content-type", "application/grpc"),
    ("x-lab-replica", "replica-0"),
)
TRAILERS = (
    ("grpc-status", "0"),
    ("x-lab-queue-ns", "10000"),
    ("x-lab-service-ns", "2000000"),
    ("x-lab-in-flight", "1"),
)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def frames(buffer: bytearray) -> Iterator[tuple[int, int, int, bytes]]:
    """(kind, flags, stream, payload) of each whole frame in `buffer`; they are taken out of it at the end."""
    start = 0
    while len(buffer) - start >= 9:
        end = start + 9 + int.from_bytes(buffer[start : start + 3], "big")
        if end > len(buffer):
            break
        stream = int.from_bytes(buffer[start + 5 : start + 9], "big")
        yield buffer[start + 3], buffer[start + 4], stream, bytes(buffer[start + 9 : end])
        start = end
    del buffer[:start]


def first_block(fields: Sequence[tuple[str, str]]) -> bytes:
    """The fields as literals that go into the other side's table, in this order (RFC 7541, 6.2.1)."""
    return b"".join(b"\x40" + _text(name) + _text(value) for name, value in fields)


def later_block(first: int, count: int, table: int) -> bytes:
    """`count` fields of a table of `table`, from the one that was put there as number `first` (6.1)."""
    newest = FIRST_DYNAMIC + table - 1
    return bytes(0x80 | (newest - number) for number in range(first, first + count))


def _text(text: str) -> bytes:
    return bytes((len(text),)) + text.encode()


def _message(serialized: bytes) -> bytes:
    return b"\0" + struct.pack(">I", len(serialized)) + serialized


# All windows wide open: nothing here ever waits for one. Beyond that, what is on its way to the other side
# is far below the window that it opens with, and it opens it again before half of that is used.
GREETING = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, LARGEST_WINDOW)) + frame(
    WINDOW_UPDATE, 0, 0, struct.pack(">I", LARGEST_WINDOW - 65_535)
)


class FailedCallError(Exception):
    """A call was not answered as it should be. (Of a ConnectionError the event loop would say nothing.)"""


class Peer(asyncio.Protocol):
    """One connection; a subclass hears the frames that calls are made of."""

    greeting = GREETING
    preface = 0  # bytes to skip at the start

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's, which is no subclass
        self._transport.write(self.greeting)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._buffer += data
        if self.preface:
            if len(self._buffer) < self.preface:
                return
            del self._buffer[: self.preface]
            self.preface = 0
        replies = []
        for kind, flags, stream, payload in frames(self._buffer):
            if kind == SETTINGS and not flags & ACK:
                replies.append(frame(SETTINGS, ACK, 0))
            elif kind == PING and not flags & ACK:
                replies.append(frame(PING, ACK, 0, payload))
            else:
                replies.append(self.hear(kind, flags, stream))
        self.write(b"".join(replies))

    def write(self, data: bytes) -> None:
        """Send it, unless the connection has failed."""
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def hear(self, kind: int, flags: int, stream: int) -> bytes:
        """What to reply to a frame."""
        raise NotImplementedError


class Answerer(Peer):
    """Answers every call with the same message, as a replica's looks on the wire."""

    preface = len(PREFACE)

    def __init__(self) -> None:
        super().__init__()
        table = len(ANSWER) + len(TRAILERS)
        self._first = (first_block(ANSWER), first_block(TRAILERS))
        self._later = (
            later_block(0, len(ANSWER), table),
            later_block(len(ANSWER), len(TRAILERS), table),
        )
        self._blocks = self._first
        video = pb.Video(id="load-1000000000", duration=1, served_by="replica-0", **video_texts(0))
        self._body = _message(pb.AddVideoReply(video=video).SerializeToString())

    def hear(self, kind: int, flags: int, stream: int) -> bytes:
        """Answer where a call is complete."""
        if kind not in (DATA, HEADERS) or not flags & END_STREAM:
            return b""
        headers, trailers = self._blocks
        self._blocks = self._later
        return (
            frame(HEADERS, END_HEADERS, stream, headers)
            + frame(DATA, 0, stream, self._body)
            + frame(HEADERS, END_HEADERS | END_STREAM, stream, trailers)
        )


class Caller(Peer):
    """Calls AddVideo. `in_flight`: calls without an answer; `answered`: those with a message in it."""

    greeting = PREFACE + GREETING

    def __init__(self, ids: Iterator[int], endless: bool) -> None:
        super().__init__()
        self._ids = ids
        self._endless = endless
        self._streams = itertools.count(1, 2)
        self._texts = video_texts(0)
        self._block = first_block(REQUEST) + b"\x40" + _text(NAMELESS)
        self._ended = 0
        self.in_flight = 0
        self.answered = 0

    def call(self) -> bytes:
        """The frames of one more call."""
        number = next(self._ids)
        stream = next(self._streams)
        video = pb.Video(id=f"bench-{number}", duration=1, **self._texts)
        block = self._block + _text(str(number))
        # Its number alone is no field of the table but a literal, under a name from there (6.2.2).
        table = len(REQUEST) + 1
        self._block = later_block(0, len(REQUEST), table) + bytes((0x0F, FIRST_DYNAMIC - 15))
        self.in_flight += 1
        return frame(HEADERS, END_HEADERS, stream, block) + frame(
            DATA, END_STREAM, stream, _message(video.SerializeToString())
        )

    def hear(self, kind: int, flags: int, stream: int) -> bytes:
        """Count an answer; at full speed, send the next call."""
        if kind in (RST_STREAM, GOAWAY):
            raise FailedCallError(f"the server ended stream {stream} (frame {kind})")
        self.answered += kind == DATA
        if not flags & END_STREAM or kind not in (DATA, HEADERS):
            return b""
        self._ended += 1
        self.in_flight -= 1
        if self._ended != self.answered:
            raise FailedCallError("a call was answered without a message: it failed")
        return self.call() if self._endless else b""


async def answer(ports: int) -> None:
    """Answer until standard input is closed."""
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Answerer, "127.0.0.1", 0) for _ in range(ports)]
    _tell([f"127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers])
    await loop.run_in_executor(None, sys.stdin.read)


async def drive(target: str, connections: int, rate_per_s: float, seconds: float) -> None:
    """Call for so long and tell how many were answered by when."""
    loop = asyncio.get_running_loop()
    # A call that fails must not pass for a fast one.
    failures: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: failures.append(context))
    host, _, port = target.rpartition(":")
    ids = itertools.count(time.time_ns())
    callers = [
        (await loop.create_connection(lambda: Caller(ids, not rate_per_s), host, int(port)))[1]
        for _ in range(connections)
    ]
    telling = asyncio.create_task(_tell_progress(callers))
    if rate_per_s:
        await _pace(callers, rate_per_s, seconds)
    else:
        for caller in callers:
            caller.write(b"".join(caller.call() for _ in range(DEPTH)))
        await asyncio.sleep(seconds)
    telling.cancel()
    if failures:
        sys.exit(f"{failures[0].get('exception')}")


async def _pace(callers: Sequence[Caller], rate_per_s: float, seconds: float) -> None:
    start_s, sent = time.monotonic(), 0
    turns = itertools.cycle(callers)
    while (elapsed_s := time.monotonic() - start_s) < seconds:
        due = int(elapsed_s * rate_per_s) - sent
        for caller in itertools.islice(turns, due):
            if caller.in_flight < MOST_IN_FLIGHT:
                caller.write(caller.call())
        sent += due
        await asyncio.sleep(TICK_S)


async def _tell_progress(callers: Sequence[Caller]) -> None:
    while True:
        await asyncio.sleep(TELL_S)
        _tell(sum(caller.answered for caller in callers))


def _tell(what: object) -> None:
    print(json.dumps(what), flush=True)


def main(argv: Sequence[str]) -> None:
    """Be one of the two peers."""
    if argv[0] == "answer":
        uvloop.run(answer(int(argv[1])))
    else:
        uvloop.run(drive(argv[1], int(argv[2]), float(argv[3]), float(argv[4])))


if __name__ == "__main__":
    main(sys.argv[1:])
