"""Hedged calls: if an answer does not come soon, a second attempt goes to another replica.

The first good answer counts, and the other attempts are cancelled. gRPC's C-core ignores its own hedging
policy (gRFC A6), so this module makes the attempts, over one channel for each replica. Source: J. Dean and
L. Barroso, "The Tail at Scale", Communications of the ACM 56 (2013), "hedged requests".
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from lb.calls import Answer, OutgoingCall, VideoCalls
from lb.plan import NS_PER_S


class HedgedCalls:
    """Makes unary calls over `replicas`, the calls of one channel each, in turn. `turn`: where turns begin.

    The next attempt of a call goes out `after_s` seconds after the last one, or as soon as an attempt has
    failed, until there are `attempts`. It goes to the replica that follows. All share the call's deadline.
    """

    def __init__(self, replicas: Sequence[VideoCalls], after_s: float, attempts: int, turn: int) -> None:
        self._replicas = replicas
        self._after_s = after_s
        self._attempts = min(attempts, len(replicas))
        self._turn = turn

    async def add_video(self, outgoing: OutgoingCall) -> Answer:
        """Return the first answer with OK; if all attempts fail, the last one."""
        first, made = self._turn, 0
        self._turn += 1
        ends_ns = time.monotonic_ns() + round(outgoing.timeout_s * NS_PER_S)
        under_way: set[asyncio.Task[Answer]] = set()
        answer: Answer | None = None
        try:
            while True:
                left_s = (ends_ns - time.monotonic_ns()) / NS_PER_S
                if made < self._attempts and (left_s > 0 or not made):
                    replica = self._replicas[(first + made) % len(self._replicas)]
                    attempt = replica.add_video(outgoing._replace(timeout_s=left_s))
                    under_way.add(asyncio.create_task(attempt))
                    made += 1
                if not under_way:
                    assert answer is not None
                    return answer
                wait_s = self._after_s if made < self._attempts else None
                ended, under_way = await asyncio.wait(
                    under_way, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED
                )
                for attempt_ended in ended:
                    answer = attempt_ended.result()
                    if answer.code == "OK":
                        return answer
        finally:
            for loser in under_way:
                loser.cancel()

    def cancel_open_calls(self) -> None:
        """End the open attempts with CANCELLED."""
        for replica in self._replicas:
            replica.cancel_open_calls()

    def by_method(self) -> dict[str, Callable[[OutgoingCall], Awaitable[Answer]]]:
        """Return the calls by the method's name."""
        return {"AddVideo": self.add_video}
