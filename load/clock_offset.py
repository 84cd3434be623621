"""How far the monotonic clocks of two machines are apart."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ClockOffset:
    """offset_ns: the master's clock minus this one's; it is within uncertainty_ns of that."""

    offset_ns: int
    uncertainty_ns: int


SAME_CLOCK = ClockOffset(0, 0)


def estimate_offset(round_trips: Iterable[tuple[int, int, int]]) -> ClockOffset:
    """From (sent, the master's clock, received) in ns, where sent and received are on the own clock.

    The smallest round trip counts: the master read its clock somewhere within it, so that half of it is the
    most that the estimate can be wrong by (Cristian 1989, "Probabilistic clock synchronization").
    Raises ValueError without a round trip.
    """
    sent_ns, master_ns, received_ns = min(round_trips, key=lambda trip: trip[2] - trip[0])
    half_ns = -(-(received_ns - sent_ns) // 2)
    return ClockOffset(master_ns - (sent_ns + received_ns) // 2, half_ns)


def settled_offset(measured: ClockOffset, own_clock: str, masters_clock: str) -> ClockOffset:
    """`measured`, or exactly nothing where both read the same clock and the measurement allows it."""
    same = bool(own_clock) and own_clock == masters_clock
    return SAME_CLOCK if same and abs(measured.offset_ns) <= measured.uncertainty_ns else measured


def clock_name() -> str:
    """Names the monotonic clock that this process reads; "" where the system does not tell.

    A clock belongs to one boot of one kernel and to a time namespace. Machines restored from one snapshot
    share the name, not the clock: see settled_offset.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/time').readlink()}"
    except OSError:
        return ""
