"""The state of one call of VideoService in the replica. The three interceptors share it."""

import time
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc

from services.errors import RpcStatusError

# A string, because gRPC's classes are generic for the type checker only.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]

NO_REQUEST_ID = -1
_INT64_DIGITS = 18  # every number of 18 digits fits into an int64
MAX_WORK_NS = 60_000_000_000


@dataclass(slots=True)
class Call:
    """The state of one call. Instants (`*_ns`) are nanoseconds from the replica's epoch.

    `identity`: names the request and its repeat, the same in every arm; "" for a call that does not belong to
    the lab's load. `works`, `attempt`: counted by services.draws.
    `cache`: "hit" or "miss" as the call began to be served, if the replica has a cache and the caller named a
    session; else "".
    `session_cached`: the session's data is in the cache. `slow_draw`: the call is slow if this is below
    slow_share. `error`: raised when the work of the call is done.
    """

    request_id: int
    method: str
    peer: str
    arrived_ns: int
    in_flight: int
    queue_ns: int = 0
    service_ns: int = 0
    messages: int = 0
    metadata: Metadata = ()
    identity: str = ""
    works: int = 0
    attempt: int = 0
    cache: str = ""
    session_cached: bool = False
    slow_draw: float = 0.0
    error: RpcStatusError | None = None

    def session(self) -> str:
        """Return the caller's `x-lab-session`; "" without one."""
        for key, value in self.metadata:
            if key == "x-lab-session":
                return str(value)
        return ""

    def client(self) -> int | None:
        """Return the number of the lab's client that calls, the first part of `x-lab-session`, or None."""
        number = self.session().partition(".")[0]
        is_number = number.isascii() and number.isdigit() and len(number) <= _INT64_DIGITS
        return int(number) if is_number else None

    def recorded_work_ns(self) -> int | None:
        """Return the service time that a call of the lab's load asks for (`x-lab-work-ns`); None without one.

        Times of more than MAX_WORK_NS count as that.
        """
        for key, value in self.metadata if self.identity else ():
            if key == "x-lab-work-ns":
                text = str(value)
                if text.isascii() and text.isdigit() and len(text) <= _INT64_DIGITS:
                    return min(int(text), MAX_WORK_NS)
        return None


# gRPC runs each call in its own task, so each call has its own value.
CALL: ContextVar[Call] = ContextVar("call")


class Clock:
    """Counts nanoseconds from an epoch on the monotonic clock, which all processes of a machine share."""

    def __init__(self, epoch_ns: int) -> None:
        self._epoch_ns = epoch_ns

    def now_ns(self) -> int:
        """Return the current instant in nanoseconds from the epoch."""
        return time.monotonic_ns() - self._epoch_ns


def request_of(metadata: Metadata) -> tuple[int, str]:
    """Return the `x-lab-request-id` of a call's metadata, and the identity of its draws (see Call).

    NO_REQUEST_ID and "" without a valid id; "" without an `x-lab-draw`.
    """
    request_id = draw = ""
    for key, value in metadata:
        if key == "x-lab-request-id" and not request_id:
            request_id = str(value)  # bytes become "b'...'", which is no number
        elif key == "x-lab-draw" and not draw:
            draw = str(value)
    if not (request_id.isascii() and request_id.isdigit() and len(request_id) <= _INT64_DIGITS):
        return NO_REQUEST_ID, ""
    return int(request_id), f"{draw}/{request_id}" if draw else ""


def address_of(peer: str) -> str:
    """Return "127.0.0.1:4321" or "[::1]:4321" for gRPC's peer "ipv4:..." or "ipv6:%5B::1%5D:..."."""
    address = peer.removeprefix("ipv4:").removeprefix("ipv6:")
    return address.replace("%5B", "[").replace("%5D", "]")
