"""How many clients connect at the same time."""

import asyncio

from load.engine import CONNECTING, connect_all


class _Crowd:
    """Counts those that are connecting, and those that are connected."""

    def __init__(self) -> None:
        self.now = self.most = self.connected = 0

    async def connect(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        self.connected += 1


def test_a_crowd_connects_in_turns() -> None:
    crowd = _Crowd()
    asyncio.run(connect_all([crowd] * (3 * CONNECTING + 1)))
    assert (crowd.most, crowd.connected) == (CONNECTING, 3 * CONNECTING + 1)
