"""Reads packed moments again, as the format is described in harness/report/replay_data.py."""

import base64
import zlib
from collections.abc import Iterator

from harness.report.replay_data import COLUMNS, SIGNED, Packed

Rows = list[dict[str, int]]


def columns_in(packed: Packed) -> dict[str, list[int]]:
    """Return the columns as they were packed."""
    numbers = _numbers(zlib.decompress(base64.b64decode(packed.data), -zlib.MAX_WBITS))
    found = {}
    for name, kind in COLUMNS.items():
        values = [next(numbers) for _ in range(getattr(packed, kind))]
        found[name] = [_unzigzag(value) for value in values] if name in SIGNED else values
    assert next(numbers, None) is None, "bytes are left over"
    return found


def _numbers(data: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0
    assert shift == 0, "the last number is cut off"


def _unzigzag(value: int) -> int:
    return -(value + 1) // 2 if value % 2 else value // 2


def unpacked(packed: Packed) -> tuple[Rows, Rows, Rows]:
    """Return requests, stays and messages, times in quanta; proxy, node and toward are -1 if unknown."""
    columns = columns_in(packed)
    rest = {name: iter(columns[name]) for name in COLUMNS}
    requests: Rows = []
    stays: Rows = []
    messages: Rows = []
    sent = 0
    for number in range(packed.requests):
        take = {name: next(rest[name]) for name, kind in COLUMNS.items() if kind == "requests"}
        sent += take["sent"]
        proxy = sent + take["proxy"] - 1 if take["proxy"] else -1
        before, last = (proxy if take["proxy"] else sent), sent
        for _ in range(take["stays"]):
            arrived = before + next(rest["arrived"])
            started = arrived + next(rest["waited"])
            before = last = started + next(rest["served"])
            stays.append(
                {
                    **{"request": number, "replica": next(rest["replica"])},
                    **{"arrived": arrived, "started": started, "finished": last},
                }
            )
        message_sent = sent
        for _ in range(take["messages"]):
            message_sent += next(rest["message_sent"])
            received = message_sent + next(rest["message_took"])
            messages.append({"request": number, "sent": message_sent, "received": received})
        kept = {name: take[name] for name in ("client", "session", "method", "code")}
        times = {"sent": sent, "proxy": proxy, "done": last + take["done"]}
        places = {name: take[name] - 1 for name in ("node", "toward")}
        requests.append({**kept, **times, **places})
    return requests, stays, messages
