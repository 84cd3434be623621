"""Slots: how many calls a replica works on at once. The others wait in a queue."""

import asyncio
from collections import deque


class Slots:
    """A semaphore of `count` slots whose queue is first come, first served."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._held = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def count(self) -> int:
        """Number of slots."""
        return self._count

    @property
    def full(self) -> bool:
        """Whether the next caller must wait."""
        return self._held >= self._count

    @property
    def held(self) -> int:
        """Number of slots in use. After a resize to fewer slots it may exceed the count for a while."""
        return self._held

    @property
    def waiting(self) -> int:
        """Number of callers in the queue."""
        return len(self._queue)

    def resize(self, count: int) -> None:
        """Change the number of slots. Callers that hold a slot keep it."""
        self._count = count
        self._grant_slots()

    async def acquire(self) -> None:
        """Wait for a slot and take it. A cancelled caller leaves the queue without a slot."""
        if not self.full:  # then the queue is empty
            self._held += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it got a slot in the same iteration of the event loop
                self.release()
            elif turn in self._queue:
                self._queue.remove(turn)
            raise

    def release(self) -> None:
        """Give a slot back. The first caller in the queue gets it."""
        self._held -= 1
        self._grant_slots()

    def _grant_slots(self) -> None:
        while self._queue and not self.full:
            turn = self._queue.popleft()
            if not turn.done():
                self._held += 1
                turn.set_result(None)
