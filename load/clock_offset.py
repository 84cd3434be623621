"""Measures how far the monotonic clocks of two machines are apart."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ClockOffset:
    """`offset_ns`: the master's clock minus this machine's clock, exact to `uncertainty_ns`."""

    offset_ns: int
    uncertainty_ns: int


SAME_CLOCK = ClockOffset(0, 0)


def estimate_offset(round_trips: Iterable[tuple[int, int, int]]) -> ClockOffset:
    """Return the offset from round trips: (sent, master's clock, received) in ns; the first and last are own.

    The shortest round trip is used. The master read its clock at some moment during that round trip, so the
    error is at most half of it (Cristian 1989, "Probabilistic clock synchronization").
    Raises ValueError without a round trip.
    """
    sent_ns, master_ns, received_ns = min(round_trips, key=lambda trip: trip[2] - trip[0])
    half_ns = -(-(received_ns - sent_ns) // 2)
    return ClockOffset(master_ns - (sent_ns + received_ns) // 2, half_ns)


def settled_offset(measured: ClockOffset, own_clock: str, masters_clock: str) -> ClockOffset:
    """Return SAME_CLOCK if both names are the same and the measurement allows it, else `measured`."""
    same = bool(own_clock) and own_clock == masters_clock
    return SAME_CLOCK if same and abs(measured.offset_ns) <= measured.uncertainty_ns else measured


def clock_name() -> str:
    """Return a name of the monotonic clock that this process reads; "" if the system does not tell.

    A clock belongs to one boot of one kernel and to one time namespace. Machines that were restored from the
    same snapshot have the same name and different clocks; settled_offset allows for that.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/time').readlink()}"
    except OSError:
        return ""
