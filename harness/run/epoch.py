"""The start of a cell on two clocks: the monotonic one, from which its instants count, and the wall clock."""

import time
from collections.abc import Callable
from typing import NamedTuple

READINGS = 20


class Epoch(NamedTuple):
    """One instant on both clocks of this machine, in nanoseconds.

    `unix_ns` may be wrong by `uncertainty_ns`, half of the time that reading both clocks took.
    """

    monotonic_ns: int
    unix_ns: int
    uncertainty_ns: int


def read_epoch(
    monotonic_ns: Callable[[], int] = time.monotonic_ns, unix_ns: Callable[[], int] = time.time_ns
) -> Epoch:
    """Return the present instant on both clocks.

    The wall clock is read between two readings of the monotonic clock, and belongs to the middle of them. Of
    READINGS tries the quickest counts: in a slow one, something else had the CPU between two readings.
    """
    return min((_read(monotonic_ns, unix_ns) for _ in range(READINGS)), key=lambda read: read.uncertainty_ns)


def _read(monotonic_ns: Callable[[], int], unix_ns: Callable[[], int]) -> Epoch:
    before_ns, wall_ns, after_ns = monotonic_ns(), unix_ns(), monotonic_ns()
    return Epoch((before_ns + after_ns) // 2, wall_ns, -(-(after_ns - before_ns) // 2))
