"""What a replica answers to a probe: how long a request takes at its present load.

Source: the latency estimate of Prequal (B. Wydrowski et al., NSDI 2024, "Load is not what you should
balance"): the median of the latencies of recent requests that met about as many requests in flight.
"""

from collections import deque
from statistics import median_low

RECENT = 64  # requests that count
NEAREST = 8  # of these, the ones whose load was nearest


class LatencyEstimate:
    """Learns from the requests that were answered."""

    def __init__(self) -> None:
        self._recent: deque[tuple[int, int]] = deque(maxlen=RECENT)

    def learn(self, in_flight: int, latency_ns: int) -> None:
        """Take in a request that was answered. `in_flight`: requests in the replica when it came, with it."""
        self._recent.append((in_flight, latency_ns))

    def of(self, in_flight: int) -> int:
        """Return the latency (ns) to expect of a request that would be one of `in_flight`; 0: unknown."""
        if not self._recent:
            return 0
        newest_first = reversed(self._recent)
        nearest = sorted(newest_first, key=lambda one: abs(one[0] - in_flight))[:NEAREST]
        return median_low(latency_ns for _, latency_ns in nearest)
