"""Probing: a client asks replicas for their load before it needs to know, and picks by their answers.

Source: B. Wydrowski, R. Kleinberg, S. Rumble, A. Archer, "Load is not what you should balance: Introducing
Prequal", NSDI 2024. Each request causes some probes to replicas drawn at random. Their answers, requests in
flight and a latency, wait in a pool for the requests to come. The paper's pool may hold two answers of one
replica, this one holds the newest alone, for at most half of the replicas.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from services import lab_control_pb2 as lab
from services.lab_control_pb2_grpc import LabControlStub

if TYPE_CHECKING:
    from lb.policies import ProbingOptions

LEAST_PROBES = 2  # with fewer in the pool, the replica is drawn at random
RECENT = 128  # answers from which the client knows how many requests replicas usually have in flight
TIMEOUT_S = 0.2  # a later answer would be of no use
_NS_PER_MS = 1_000_000

Load = tuple[int, int]  # requests in flight, latency in ns


@dataclass(slots=True)
class Probe:
    """What a replica answered. `place`: of the replica. `left`: how many more requests may use it."""

    place: int
    in_flight: int
    latency_ns: int
    at_ns: int
    left: int


class ProbePool:
    """The newest answers of replicas, and the rules by which they are used and removed."""

    def __init__(self, options: ProbingOptions, replicas: int, draws: random.Random) -> None:
        self._size = options.kept_of(replicas)
        self._max_age_ns = round(options.max_age_ms * _NS_PER_MS)
        self._quantile = options.hot_quantile
        self._draws = draws
        self._uses = options.uses_of_an_answer(replicas)
        self._probes: list[Probe] = []  # the oldest first
        self._recent: deque[int] = deque(maxlen=RECENT)
        self._removes_oldest = False

    def __len__(self) -> int:
        return len(self._probes)

    def add(self, place: int, load: Load, now_ns: int) -> None:
        """Keep an answer instead of an older one of the same replica; in a full pool, of the oldest one."""
        in_flight, latency_ns = load
        self._recent.append(in_flight)
        self._probes = [one for one in self._probes if one.place != place]
        if len(self._probes) >= self._size:
            del self._probes[0]
        whole = int(self._uses)
        left = whole + (self._draws.random() < self._uses - whole)
        self._probes.append(Probe(place, in_flight, latency_ns, now_ns, left))

    def take(self, usable: Sequence[int], now_ns: int) -> int | None:
        """Return the place of the best replica by the hot-cold lexicographic rule; None: too few answers.

        A replica is hot if its requests in flight are above the quantile of recent answers. Of cold replicas
        the one with the lowest latency is the best; if all are hot, the one with the fewest in flight.
        """
        self._probes = [one for one in self._probes if now_ns - one.at_ns <= self._max_age_ns]
        known = [one for one in self._probes if one.place in usable]
        if len(known) < min(LEAST_PROBES, self._size):
            return None
        limit = self._hot_above()
        best = min(known, key=lambda one: _rank(one, limit))
        best.in_flight += 1  # the request that is sent now
        best.left -= 1
        if best.left <= 0:
            self._probes.remove(best)
        return best.place

    def remove_one(self) -> None:
        """Remove the oldest answer, or the worst, in turn: otherwise only bad ones would stay."""
        if not self._probes:
            return
        self._removes_oldest = not self._removes_oldest
        if self._removes_oldest:
            del self._probes[0]
            return
        limit = self._hot_above()
        self._probes.remove(max(self._probes, key=lambda one: _rank(one, limit)))

    def _hot_above(self) -> float:
        ordered = sorted(self._recent)
        return ordered[min(len(ordered) - 1, int(self._quantile * len(ordered)))] if ordered else 0


def _rank(probe: Probe, hot_above: float) -> tuple[bool, int]:
    hot = probe.in_flight > hot_above
    return hot, probe.in_flight if hot else probe.latency_ns


class Probing:
    """A Picker that probes. `ask`: for each replica, what asks it for its load; None: no answer."""

    def __init__(
        self,
        ask: Sequence[Callable[[], Awaitable[Load | None]]],
        options: ProbingOptions,
        draws: random.Random,
    ) -> None:
        self._ask = ask
        self._options = options
        self._draws = draws
        self._pool = ProbePool(options, len(ask), draws)
        self._under_way: set[asyncio.Task[bool]] = set()
        self._probes_due = self._removals_due = 0.0

    async def prepare(self) -> None:
        """Ask every replica once. Raises what `ask` raises for a replica that cannot be asked."""
        await asyncio.gather(*(self._probe(place) for place in range(len(self._ask))))

    def pick(self, usable: Sequence[int], in_flight: Sequence[int]) -> int:  # noqa: ARG002
        """Return the best replica that the pool knows, or one at random; send probes for later requests."""
        place = self._pool.take(usable, time.monotonic_ns())
        self._removals_due += self._options.removed_per_request
        while self._removals_due >= 1:
            self._removals_due -= 1
            self._pool.remove_one()
        self._probes_due += self._options.probes_per_request
        count = int(self._probes_due)
        self._probes_due -= count
        for asked in self._draws.sample(usable, min(count, len(usable))):
            task = asyncio.create_task(self._probe(asked))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return self._draws.choice(usable) if place is None else place

    async def _probe(self, place: int) -> bool:
        load = await self._ask[place]()
        if load is not None:
            self._pool.add(place, load, time.monotonic_ns())
        return load is not None

    def close(self) -> None:
        """Cancel the probes under way."""
        for task in self._under_way:
            task.cancel()


def asks_over(channel: grpc.aio.Channel) -> Callable[[], Awaitable[Load | None]]:
    """Return what asks the replica of a channel for its load.

    Its calls return None if the replica does not answer in time. They raise RuntimeError for a server that
    has no probes: a policy without answers would silently be another one.
    """
    probe: Any = LabControlStub(channel).Probe  # type: ignore[no-untyped-call]

    async def ask() -> Load | None:
        try:
            reply = await probe(lab.ProbeRequest(), timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise RuntimeError("a replica does not answer probes: it is no replica of this lab") from None
            return None
        return reply.in_flight, reply.latency_ns

    return ask
