"""Watches the wall clock beside the monotonic clock, by which a cell counts its time."""

from harness.run.epoch import Epoch, read_epoch


class WallClock:
    """The wall clock while a cell runs. `start`: the cell's start on both clocks.

    Envoy's ledger has the wall clock's times. They can be put on the cell's clock if nobody moves the wall
    clock meanwhile. moved_ns: by how much it has left its course at most, as seen by `look`.
    """

    def __init__(self, start: Epoch) -> None:
        self._start = start
        self.moved_ns = 0

    def look(self) -> None:
        """Compare the clocks. Call it now and then, and at the end."""
        now = read_epoch()
        passed_ns = now.monotonic_ns - self._start.monotonic_ns
        self.moved_ns = max(self.moved_ns, abs(now.unix_ns - self._start.unix_ns - passed_ns))
