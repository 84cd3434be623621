"""Where the wall clock stands beside the monotonic clock, by which a cell counts its time.

Envoy's ledger has the wall clock's times. To put them on the cell's clock, the lab must know how far the two
are apart, and that nobody moved the wall clock meanwhile.
"""

import time

READS = 5


class WallClock:
    """The wall clock while a cell runs.

    epoch_unix_ns: the wall clock's time at `epoch_ns` (monotonic), exact to some microseconds. moved_ns: by
    how much it has left that course at most, as seen by `look`.
    """

    def __init__(self, epoch_ns: int) -> None:
        self._epoch_ns = epoch_ns
        self.epoch_unix_ns = self._epoch_on_wall_clock()
        self.moved_ns = 0

    def look(self) -> None:
        """Compare the clocks again. Call it now and then, and at the end."""
        self.moved_ns = max(self.moved_ns, abs(self._epoch_on_wall_clock() - self.epoch_unix_ns))

    def _epoch_on_wall_clock(self) -> int:
        """Return the wall clock's time at the epoch.

        Of several reads, each between two of the monotonic clock, the one with the shortest distance counts
        (Cristian 1989, "Probabilistic clock synchronization").
        """
        reads = [(time.monotonic_ns(), time.time_ns(), time.monotonic_ns()) for _ in range(READS)]
        before_ns, wall_ns, after_ns = min(reads, key=lambda read: read[2] - read[0])
        return wall_ns - ((before_ns + after_ns) // 2 - self._epoch_ns)
