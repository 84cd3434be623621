"""Load shedding: a replica refuses calls that it could not answer in time, when they arrive.

A refusal costs next to nothing. A call that waits until its deadline passes takes memory, and often a part of
a service time. Sources: B. Beyer et al., "Site Reliability Engineering", O'Reilly 2016, chapter 22 ("Queue
Management", "Load Shedding and Graceful Degradation", "Latency and Deadlines"); D. Yanacek, "Using load
shedding to avoid overload", Amazon Builders' Library.
"""

from collections.abc import Callable

from services.settings import Shedding
from services.slots import Slots

_GAIN = 1 / 8  # weight of the latest service time, as of the latest round trip in TCP (RFC 6298)
_NS_PER_S = 1_000_000_000

TimeLeft = Callable[[], float | None]  # seconds until the call's deadline; None: it has none


class LoadShedding:
    """Says whether to refuse an arriving call. It learns the mean service time from the calls served."""

    def __init__(self) -> None:
        self._mean_ns: float | None = None

    def learn(self, service_ns: int) -> None:
        """Take in the service time of a call that was served to its end: an exponential moving average."""
        mean_ns = self._mean_ns
        self._mean_ns = service_ns if mean_ns is None else mean_ns + _GAIN * (service_ns - mean_ns)

    def reason_to_refuse(self, settings: Shedding, slots: Slots, time_left_s: TimeLeft) -> str:
        """Return why a call that arrives now is refused, in words for its caller; "": it is not."""
        if settings.max_queue is not None and slots.full and slots.waiting >= settings.max_queue:
            return f"{slots.waiting} calls wait, and no more may"
        if not settings.deadline_aware or self._mean_ns is None:
            return ""
        left_s = time_left_s()
        needed_s = self._needed_ns(self._mean_ns, slots) / _NS_PER_S
        if left_s is not None and needed_s > left_s:
            return f"the answer would take about {needed_s:.3f} s, and the deadline is in {left_s:.3f} s"
        return ""

    def _needed_ns(self, mean_ns: float, slots: Slots) -> float:
        """Return how long a call that arrives now would take: its wait for a slot and one service time.

        With all slots busy, one of them is free again after every mean / slots, and the call needs the turn
        that follows those of the calls before it.
        """
        turns = slots.waiting + 1 if slots.full else 0
        return mean_ns * (turns / slots.count + 1)
