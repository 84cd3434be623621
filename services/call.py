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


@dataclass(slots=True)
class Call:
    """The state of one call. Instants (`*_ns`) are nanoseconds from the replica's epoch.

    `cache`: "hit" or "miss" if the replica has a cache and the caller named a session, else "".
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


# gRPC runs each call in its own task, so each call has its own value.
CALL: ContextVar[Call] = ContextVar("call")


class Clock:
    """Counts nanoseconds from an epoch on the monotonic clock, which all processes of a machine share."""

    def __init__(self, epoch_ns: int) -> None:
        self._epoch_ns = epoch_ns

    def now_ns(self) -> int:
        """Return the current instant in nanoseconds from the epoch."""
        return time.monotonic_ns() - self._epoch_ns


def request_id_of(metadata: Metadata) -> int:
    """Return the `x-lab-request-id` of a call's metadata; NO_REQUEST_ID without a valid one."""
    for key, value in metadata:
        if key == "x-lab-request-id":
            usable = isinstance(value, str) and value.isascii() and value.isdigit()
            return int(value) if usable and len(value) <= _INT64_DIGITS else NO_REQUEST_ID
    return NO_REQUEST_ID


def address_of(peer: str) -> str:
    """Return "127.0.0.1:4321" or "[::1]:4321" for gRPC's peer "ipv4:..." or "ipv6:%5B::1%5D:..."."""
    address = peer.removeprefix("ipv4:").removeprefix("ipv6:")
    return address.replace("%5B", "[").replace("%5D", "]")
