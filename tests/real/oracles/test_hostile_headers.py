"""No caller can break a row of Envoy's access log: control characters, foreign bytes and long values."""

import socket
import struct
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from behind_envoy import StartBalanced

from harness.record.access_log import SEPARATOR, scan_access_log

Fields = list[tuple[bytes, bytes]]

PATH = b"/video_service.VideoService/ListVideos"
ID = b"x-lab-request-id"
END_HEADERS, END_STREAM = 4, 1
# A separator and a line end would make other fields and other rows of what a caller sends.
FORGED = b"1\x1f/x\x1f1\n2\x1f/y\x1f2"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2 (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def text(value: bytes) -> bytes:
    """A string of HPACK without Huffman coding (RFC 7541, section 5.2)."""
    if len(value) < 127:
        return bytes([len(value)]) + value
    rest, length = len(value) - 127, bytearray([127])
    while rest >= 128:
        length.append(rest % 128 + 128)
        rest //= 128
    return bytes([*length, rest]) + value


def send_http2(address: str, fields: Fields) -> None:
    """Send one request with exactly these header fields over HTTP/2; wait for Envoy."""
    host, _, port = address.rpartition(":")
    block = b"".join(b"\0" + text(name) + text(value) for name, value in fields)
    end = suppress(ConnectionResetError)
    with socket.create_connection((host, int(port)), timeout=5) as connection, end:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
        connection.sendall(frame(1, END_HEADERS | END_STREAM, 1, block))
        # A PING is answered after what came before it. Envoy may end the connection instead, after a second.
        connection.sendall(frame(6, 0, 0, b"8 bytes."))
        received, pong = b"", frame(6, 1, 0, b"8 bytes.")
        while pong not in received and (more := connection.recv(1 << 16)):
            received += more


def request(path: bytes = PATH, request_id: bytes = b"5") -> Fields:
    pseudo = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"lab")]
    grpc = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
    return [*pseudo, *grpc, (ID, request_id)]


@pytest.mark.parametrize("protocol", ["HTTP/2", "HTTP/1.1"])
def test_what_a_caller_sends_breaks_no_row(balanced: StartBalanced, protocol: str) -> None:
    live = balanced("round_robin", {})
    hostile = [
        *(request(request_id=value) for value in (FORGED, b"1\x1f2", b"1\n2", b"1\r2", b"1\x002", b"\x7f")),
        *(request(path=PATH + value) for value in (FORGED, b"\x1f1", b"\n1", b"\r1", b"\x001", b"\xff")),
    ]
    logged = [
        *(request(request_id=value) for value in (b"\xff\xfe", b'"', b'"1', b"9" * 19 + b"7", b"1" * 10_000)),
        request(request_id=b"77"),
    ]
    sender = send_http2 if protocol == "HTTP/2" else send_http1
    with ThreadPoolExecutor(len(hostile)) as senders:
        deque(senders.map(lambda fields: sender(live.address, fields), hostile), maxlen=0)
    for fields in logged:
        sender(live.address, fields)
    log = live.envoy.files.access_log
    live.envoy.await_true(lambda: b"\n77\x1f" in log.read_bytes())
    lines = log.read_bytes().splitlines()
    assert {line.count(SEPARATOR.encode()) for line in lines} == {15}
    rows = scan_access_log(log).collect()
    assert rows.height == len(lines)
    assert not {1, 2} & set(rows["request_id"])
    assert rows.filter(request_id=77)["path"].to_list() == [PATH.decode()]


def send_http1(address: str, fields: Fields) -> None:
    """Send one request with exactly these header fields over HTTP/1.1; wait for Envoy."""
    host, _, port = address.rpartition(":")
    own = {name: value for name, value in fields if not name.startswith(b":")}
    head = [
        b"POST " + dict(fields)[b":path"] + b" HTTP/1.1",
        b"host: lab",
        b"content-length: 0",
        b"connection: close",
    ]
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"\r\n".join([*head, *(name + b": " + own[name] for name in own), b"", b""]))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass
