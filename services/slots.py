"""The places where calls are worked on, and the line before them."""

import asyncio
from collections import deque


class Slots:
    """At most `count` holders at once; who comes later waits in line, first come first served."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._held = 0
        self._line: deque[asyncio.Future[None]] = deque()

    @property
    def held(self) -> int:
        """Slots in use now; above the count for a while after a resize downwards."""
        return self._held

    @property
    def waiting(self) -> int:
        """Callers in line now."""
        return len(self._line)

    def resize(self, count: int) -> None:
        """Change the number of slots; holders keep theirs."""
        self._count = count
        self._serve_line()

    async def acquire(self) -> None:
        """Wait for a slot and take it. A cancelled caller leaves the line holding nothing."""
        if self._held < self._count:  # then nobody is in line
            self._held += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # a slot was granted in the same turn of the event loop
                self.release()
            elif turn in self._line:
                self._line.remove(turn)
            raise

    def release(self) -> None:
        """Give a slot back, to the first in line."""
        self._held -= 1
        self._serve_line()

    def _serve_line(self) -> None:
        while self._line and self._held < self._count:
            turn = self._line.popleft()
            if not turn.done():
                self._held += 1
                turn.set_result(None)
