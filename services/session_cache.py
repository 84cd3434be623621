"""What stickiness is for: a replica keeps the data of the sessions that it served last."""

from collections import OrderedDict


class SessionCache:
    """The `size` sessions used last; who was used longest ago goes first (LRU)."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._sessions: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def use(self, session: str) -> bool:
        """Whether the session was here; from now on it is the one used last."""
        hit = session in self._sessions
        self._sessions[session] = None
        self._sessions.move_to_end(session)
        self._trim()
        return hit

    def resize(self, size: int) -> None:
        """Keep `size` sessions from now on."""
        self._size = size
        self._trim()

    def _trim(self) -> None:
        while len(self._sessions) > self._size:
            self._sessions.popitem(last=False)
