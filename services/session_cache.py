"""The session cache: a replica keeps the data of the sessions that it served last.

Sticky policies make such a cache useful. It is a look-aside cache: whoever misses fetches the data, and only
then the cache has it.
"""

from collections import OrderedDict


class SessionCache:
    """A cache of `size` sessions. The least recently used session is removed first (LRU)."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._sessions: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def find(self, session: str) -> bool:
        """Return whether the session is in the cache. If it is, it becomes the most recently used one."""
        hit = session in self._sessions
        if hit:
            self._sessions.move_to_end(session)
        return hit

    def keep(self, session: str) -> None:
        """Put the session into the cache, as the most recently used one."""
        self._sessions[session] = None
        self._sessions.move_to_end(session)
        self._trim()

    def resize(self, size: int) -> None:
        """Change the size of the cache."""
        self._size = size
        self._trim()

    def _trim(self) -> None:
        while len(self._sessions) > self._size:
            self._sessions.popitem(last=False)
