"""One call of VideoService while the replica has it: what the three interceptors share."""

import time
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc

from services.errors import RpcStatusError

# Quoted: only the type checker knows gRPC's classes as generic.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]

NO_REQUEST_ID = -1
_INT64_DIGITS = 18  # every number of 18 digits fits an int64


@dataclass(slots=True)
class Call:
    """What is known so far of one call; `*_ns` instants are from the replica's epoch.

    cache: "hit" or "miss" where the replica has a cache and the caller named a session, else "".
    data_here: the session's data is in the cache. slow_draw: below slow_share, the call is a slow one.
    refusal: what the call ends with once its work is done.
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
    data_here: bool = False
    slow_draw: float = 0.0
    refusal: RpcStatusError | None = None

    def session(self) -> str:
        """The `x-lab-session` that the caller named; "" without one."""
        for key, value in self.metadata:
            if key == "x-lab-session":
                return str(value)
        return ""


# gRPC runs each call in a task of its own, so the value never crosses from one call to another.
CALL: ContextVar[Call] = ContextVar("call")


class Clock:
    """Nanoseconds since an epoch on the monotonic clock, which every process of a machine shares."""

    def __init__(self, epoch_ns: int) -> None:
        self._epoch_ns = epoch_ns

    def now_ns(self) -> int:
        """The current instant, in nanoseconds from the epoch."""
        return time.monotonic_ns() - self._epoch_ns


def request_id_of(metadata: Metadata) -> int:
    """The `x-lab-request-id` among the (key, value) pairs of a call; NO_REQUEST_ID without a usable one."""
    for key, value in metadata:
        if key == "x-lab-request-id":
            usable = isinstance(value, str) and value.isascii() and value.isdigit()
            return int(value) if usable and len(value) <= _INT64_DIGITS else NO_REQUEST_ID
    return NO_REQUEST_ID


def address_of(peer: str) -> str:
    """The caller as "127.0.0.1:4321" or "[::1]:4321", from gRPC's "ipv4:..." or "ipv6:%5B::1%5D:..."."""
    address = peer.removeprefix("ipv4:").removeprefix("ipv6:")
    return address.replace("%5B", "[").replace("%5D", "]")
