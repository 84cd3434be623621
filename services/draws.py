"""The random draws of a replica: how long a request takes, and which calls fail or are slow.

The lab's load names its repeat (x-lab-draw) and its request (x-lab-request-id) in each call. The draws of
such a call follow from these names alone, not from the order in which calls arrive. Other calls, as those by
hand, take the next numbers of a generator.

The time that a request takes is its own: every replica and every attempt draws the same. So the arms of a
repeat serve the same work, and a retry repeats it. Slowness and failures are the replica's own: each replica
draws them anew for each attempt that reaches it, so a retry may fare better. Job size and server slowdown are
told apart in the same way by K. Gardner, M. Harchol-Balter, A. Scheller-Wolf, "A better model for job
redundancy: decoupling server slowdown and job size", IEEE MASCOTS 2016.
"""

import random
from collections import OrderedDict

from services.call import Call
from services.service_time import service_draw
from services.uniform import BITS, SCALE, uniform

RECENT_REQUESTS = 10_000  # whose attempts a replica counts; a retry comes soon after the attempt before


class Draws:
    """Draws numbers that are uniform in (0, 1), without its ends. `seed`: differs between replicas."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        # Separate generators, so that injected failures and slowness do not change the service times.
        self._service = random.Random(f"{seed}/service")
        self._failure = random.Random(f"{seed}/failure")
        self._slowness = random.Random(f"{seed}/slow")
        self._attempts: OrderedDict[str, int] = OrderedDict()

    def service(self, call: Call) -> float:
        """Return the draw of the call's next service time: of a stream, one for each message."""
        if not call.identity:
            return _next(self._service)
        call.works += 1
        return service_draw(call.identity, call.works)

    def failure(self, call: Call) -> float:
        """Return the draw that decides whether this attempt fails."""
        return self._of_attempt(call, "failure") if call.identity else _next(self._failure)

    def slowness(self, call: Call) -> float:
        """Return the draw that decides whether this attempt is slow."""
        return self._of_attempt(call, "slow") if call.identity else _next(self._slowness)

    def _of_attempt(self, call: Call, what: str) -> float:
        if not call.attempt:
            call.attempt = self._next_attempt(call.identity)
        return uniform(f"{self._seed}/{what}/{call.identity}/{call.attempt}")

    def _next_attempt(self, identity: str) -> int:
        """Return how often the request has now come to this replica, from 1."""
        attempts = self._attempts
        attempt = attempts[identity] = attempts.pop(identity, 0) + 1
        if len(attempts) > RECENT_REQUESTS:
            attempts.popitem(last=False)
        return attempt


def _next(generator: random.Random) -> float:
    return (generator.getrandbits(BITS) + 0.5) * SCALE
