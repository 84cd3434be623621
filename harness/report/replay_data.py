"""Packs the moments of requests for the replay: small whole numbers, column by column, compressed, as text.

Times are counted in quanta of QUANTUM_NS and rounded down. So "before quantum k" is true of a packed time
exactly when "before k x QUANTUM_NS" is true of the ledger's: counts at whole quanta are those of the ledgers.

A column holds one number per row in LEB128 (seven bits a byte, the lowest first; a set top bit: more follow).
Columns that may be negative are in zigzag (0, -1, 1, -2, ... as 0, 1, 2, 3, ...). The columns follow each
other in the order of COLUMNS, the whole is a raw DEFLATE stream (RFC 1951), and that is written in base64.
assets/replay_unpack.js reads it.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.analysis.moments import Moments

Ints = NDArray[np.int64]

QUANTUM_NS = 100_000  # 0.1 ms: at the slowest speed, 0.05, a picture of 1/60 s lasts 0.8 ms

# Column -> whose rows it has. In this order a stay's and a message's columns follow their requests'.
# sent: since the request before it. client, session, method, code: numbers. proxy: 1 + since sent; 0: not
# known. node: 1 + node of the proxy that had it, of several; 0: not known. toward: 1 + replica, of a request
# without a stay; 0: not known. stays, messages: how many rows of them are this request's.
# arrived: since the stay before it ended; of the first, since the proxy's moment, or else since sent.
# waited, served: how long. done: since the last stay ended; without one, since sent.
# message_sent: since the message before it; of the first, since sent. message_took: until received.
COLUMNS: Mapping[str, str] = {
    "sent": "requests",
    "client": "requests",
    "session": "requests",
    "method": "requests",
    "code": "requests",
    "proxy": "requests",
    "node": "requests",
    "toward": "requests",
    "stays": "requests",
    "messages": "requests",
    "done": "requests",
    "replica": "stays",
    "arrived": "stays",
    "waited": "stays",
    "served": "stays",
    "message_sent": "messages",
    "message_took": "messages",
}
LIMIT = 2**51  # in quanta seven years; JavaScript counts to 2**53
SIGNED = ("sent", "arrived", "done", "message_sent", "message_took")


@dataclass(frozen=True)
class Packed:
    """Packed moments: how many rows of each kind there are, and the columns as text."""

    requests: int
    stays: int
    messages: int
    data: str


def pack(moments: Moments, clients: Sequence[int], methods: Sequence[str], codes: Sequence[str]) -> Packed:
    """Return the moments, packed. A client, a method or a code becomes its index in the sequence given.

    In a damaged record a number may be negative where none can be, or huge: the nearest possible one counts.
    """
    columns = columns_of(moments, clients, methods, codes)
    raw = b"".join(
        _leb128(_zigzag(np.clip(columns[name], -LIMIT, LIMIT)))
        if name in SIGNED
        else _leb128(np.clip(columns[name], 0, LIMIT))
        for name in COLUMNS
    )
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    text = base64.b64encode(deflate.compress(raw) + deflate.flush()).decode("ascii")
    return Packed(moments.requests.height, moments.stays.height, moments.messages.height, text)


def columns_of(
    moments: Moments, clients: Sequence[int], methods: Sequence[str], codes: Sequence[str]
) -> dict[str, Ints]:
    """Return COLUMNS as numbers: name -> (rows,), negative numbers as they are."""
    requests, stays, messages = moments.requests, moments.stays, moments.messages
    sent, done = _quanta(requests["sent_ns"]), _quanta(requests["done_ns"])
    arrived, started, finished = (
        _quanta(stays[name]) for name in ("arrived_ns", "started_ns", "finished_ns")
    )
    owner, stays_of = _rows_of(requests, stays)
    writer, messages_of = _rows_of(requests, messages)
    # The rows of a request stand together, and the requests of the rows are in the order of the requests.
    order, message_order = np.argsort(owner, kind="stable"), np.argsort(writer, kind="stable")
    arrived, started, finished, owner = arrived[order], started[order], finished[order], owner[order]
    first_stay = _firsts(owner)
    proxied = requests["proxy_ns"].is_not_null().to_numpy()
    proxy = np.where(proxied, _proxy(requests, sent, arrived, owner, first_stay), sent)
    before_stay = np.where(first_stay, proxy[owner], _shifted(finished))
    last = np.full(len(sent), -1)
    last[owner] = np.arange(len(owner))  # of several stays, the last one remains
    before_done = np.where(last < 0, sent, finished[last]) if len(owner) else sent
    message_sent, received = _quanta(messages["sent_ns"])[message_order], _quanta(messages["received_ns"])
    writer = writer[message_order]
    before_message = np.where(_firsts(writer), sent[writer], _shifted(message_sent))
    return {
        "sent": np.diff(sent, prepend=0),
        "client": _indexes(requests["client"], clients),
        "session": requests["session"].to_numpy().astype(np.int64),
        "method": _indexes(requests["method"], methods),
        "code": _indexes(requests["code"], codes),
        "proxy": np.where(proxied, proxy - sent + 1, 0),
        "node": _one_up(requests["proxy_node"]),
        "toward": np.where(stays_of > 0, 0, _one_up(requests["toward"])),
        "stays": stays_of,
        "messages": messages_of,
        "done": done - before_done,
        "replica": stays["replica"].to_numpy().astype(np.int64)[order],
        "arrived": arrived - before_stay,
        "waited": started - arrived,
        "served": finished - started,
        "message_sent": message_sent - before_message,
        "message_took": received[message_order] - message_sent,
    }


def _quanta(times_ns: pl.Series) -> Ints:
    return np.asarray(times_ns.to_numpy() // QUANTUM_NS, dtype=np.int64)


def _rows_of(requests: pl.DataFrame, table: pl.DataFrame) -> tuple[Ints, Ints]:
    """Return the row of `requests` that each row of `table` belongs to, and how many each request has."""
    numbered = requests.select("request_id").with_row_index("row")
    owner = table.select("request_id").join(numbered, on="request_id", how="left", maintain_order="left")
    rows = owner["row"].to_numpy().astype(np.int64)
    return rows, np.bincount(rows, minlength=requests.height).astype(np.int64)


def _firsts(owner: Ints) -> NDArray[np.bool_]:
    """Return whether a row is the first of its owner, whose rows stand together."""
    return np.asarray(np.diff(owner, prepend=-1) != 0)


def _shifted(values: Ints) -> Ints:
    """Return the value of the row before; 0 for the first."""
    return np.concatenate([np.zeros(min(1, len(values)), dtype=np.int64), values[:-1]])


def _proxy(
    requests: pl.DataFrame, sent: Ints, arrived: Ints, owner: Ints, first_stay: NDArray[np.bool_]
) -> Ints:
    """Return the quantum in which the proxy began; anything where that is not known.

    The proxy's clock is another one than that of clients and replicas. So its moment is kept between those of
    theirs: it is drawn, and nothing is counted by it.
    """
    latest = _quanta(requests["done_ns"]).copy()
    latest[owner[first_stay]] = arrived[first_stay]
    return np.maximum(np.minimum(_quanta(requests["proxy_ns"].fill_null(0)), latest), sent)


def _one_up(places: pl.Series) -> Ints:
    """Return each place plus 1; 0 where it is null."""
    return np.asarray(places.cast(pl.Int64).fill_null(-1).to_numpy() + 1, dtype=np.int64)


def _indexes(values: pl.Series, known: Sequence[int] | Sequence[str]) -> Ints:
    numbers = values.replace_strict(list(known), list(range(len(known))), return_dtype=pl.Int64)
    return np.asarray(numbers.to_numpy(), dtype=np.int64)


def _zigzag(values: Ints) -> Ints:
    return np.where(values < 0, -2 * values - 1, 2 * values)


def _leb128(values: Ints) -> bytes:
    """Return numbers from 0 on in LEB128."""
    if not len(values):
        return b""
    sizes = np.ones(len(values), dtype=np.int64)
    rest = values >> 7
    while rest.any():
        sizes += rest > 0
        rest >>= 7
    starts = np.cumsum(sizes) - sizes
    out = np.zeros(int(sizes.sum()), dtype=np.uint8)
    for place in range(int(sizes.max())):
        here = sizes > place
        more = np.where(sizes[here] > place + 1, 0x80, 0)
        out[starts[here] + place] = (values[here] >> (7 * place)) & 0x7F | more
    return out.tobytes()
