"""Very large fleets: `simulate_fast` goes through arrivals in order, without a queue of events.

A request's finish is known when it arrives: replicas serve first come, first served, so a request begins when
its slot is free. Only rules that ask how busy replicas are need more: a heap of finish times per replica.
"""

import math
import os
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from simulator.compiled import compiled
from simulator.histogram import BUCKETS, Counts, count, new_counts, quantile_s
from simulator.randomness import below, mixed, next_state, unit
from simulator.state import LEAST_REQUEST, RANDOM, ROUND_ROBIN

FastRule = Literal["round_robin", "random", "least_request"]
ServiceTimes = Literal["constant", "exponential", "lognormal"]
RULES = {"round_robin": ROUND_ROBIN, "random": RANDOM, "least_request": LEAST_REQUEST}
DISTRIBUTIONS = ("constant", "exponential", "lognormal")
_EXPONENTIAL, _LOGNORMAL = 1, 2  # places in DISTRIBUTIONS
LOGNORMAL_SIGMA = 1.0  # of the logarithm, as replicas draw: services/service_time.py
CHUNK = 1 << 14  # requests that are drawn at once: their numbers stay in the processor's cache
BLOCK = 1 << 10  # requests whose replicas are picked before the first of them is served
FIRST_ROOM = 16  # requests under way on one replica, to begin with
NOBODY = -1
MAX_CLIENTS, MAX_REPLICAS, MAX_SLOTS, MAX_REQUESTS = 10**9, 10**7, 10**5, 10**12


@dataclass(frozen=True)
class Fleet:
    """A fleet under Poisson arrivals.

    distribution: of the service times. skew: client k sends in proportion to 1 / k ** skew. sticky: the rule
    picks once for each client.
    """

    clients: int
    replicas: int
    requests: int
    rate_per_s: float
    mean_service_s: float
    slots: int = 1
    skew: float = 0.0
    rule: FastRule = "round_robin"
    sticky: bool = False
    seed: int = 0
    distribution: ServiceTimes = "exponential"

    def __post_init__(self) -> None:
        """Raise ValueError that names field, value and what is expected."""
        for name, most in (
            *(("clients", MAX_CLIENTS), ("replicas", MAX_REPLICAS)),
            *(("slots", MAX_SLOTS), ("requests", MAX_REQUESTS)),
        ):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 to {most:,}")
        for name in ("rate_per_s", "mean_service_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, expected more than 0")
        if not 0 <= self.skew <= 10:
            raise ValueError(f"skew is {self.skew}, expected 0 to 10")
        if self.rule not in RULES:
            raise ValueError(f"rule is {self.rule!r}, expected one of {', '.join(RULES)}")
        if self.distribution not in DISTRIBUTIONS:
            raise ValueError(
                f"distribution is {self.distribution!r}, expected one of {', '.join(DISTRIBUTIONS)}"
            )


@dataclass(frozen=True)
class FastOutcome:
    """replica_requests: (replicas,). waits, latencies: histograms of times, see simulator.histogram."""

    replica_requests: npt.NDArray[np.int64]
    waits: Counts
    latencies: Counts

    def latency_s(self, share: float) -> float:
        """Return the quantile of the latency (wait and service) in seconds."""
        return quantile_s(self.latencies, share)

    @property
    def max_over_mean(self) -> float:
        """Requests of the busiest replica / fair share."""
        return float(self.replica_requests.max() / self.replica_requests.mean())


def memory_bytes(fleet: Fleet, room: int = FIRST_ROOM) -> int:
    """Return the memory that a simulation takes, whatever the number of requests.

    16 bytes a client (two tables to draw it, its replica), and 16 + 8 x slots bytes a replica. least_request
    also keeps the finish times of requests under way: 8 x `room` bytes a replica, and as much again while
    `room`, the most that one replica had, grows.
    """
    busy = 2 * 8 * room if fleet.rule == "least_request" else 0
    return 16 * fleet.clients + fleet.replicas * (16 + 8 * fleet.slots + busy) + 24 * CHUNK + 16 * BUCKETS


def free_bytes() -> int:
    """Return the memory that is free on this machine."""
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def confirm_memory(fleet: Fleet, room: int = FIRST_ROOM, limit_bytes: int | None = None) -> None:
    """Raise ValueError if the simulation would take more than `limit_bytes` (None: what is free)."""
    needed, limit = memory_bytes(fleet, room), free_bytes() if limit_bytes is None else limit_bytes
    if needed > limit:
        raise ValueError(
            f"{fleet.clients:,} clients and {fleet.replicas:,} replicas take {needed / 1e9:.2g} GB, "
            f"and {limit / 1e9:.2g} GB are free; expected a smaller fleet"
        )


def simulate_fast(fleet: Fleet, limit_bytes: int | None = None) -> FastOutcome:
    """Return what becomes of the requests. Raises ValueError for a fleet that does not fit into memory."""
    confirm_memory(fleet, limit_bytes=limit_bytes)
    machine = FastMachine(fleet)
    draws = Draws(fleet)
    left = fleet.requests
    while left:
        at_s, client, service_s = draws.next(min(left, CHUNK))
        machine.serve(at_s, client, service_s, limit_bytes)
        left -= len(at_s)
    return machine.outcome()


class Draws:
    """Draws the requests of a fleet, chunk by chunk: arrival (s from the start), client, service time (s)."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        weights = np.arange(1, fleet.clients + 1, dtype=np.float64) ** -fleet.skew
        self._keep, self._other = alias_tables(weights)
        self._random = np.array([fleet.seed], np.uint64)
        self._now_s = 0.0
        self._chunk = (np.empty(CHUNK), np.empty(CHUNK, np.int32), np.empty(CHUNK))

    def next(self, size: int) -> tuple[Any, Any, Any]:
        """Return the next `size` requests. The arrays are used again by the next call."""
        at_s, client, service_s = (column[:size] for column in self._chunk)
        own = self._fleet
        how = (1 / own.rate_per_s, own.mean_service_s, DISTRIBUTIONS.index(own.distribution))
        self._now_s = _draw(at_s, client, service_s, self._now_s, how, self._keep, self._other, self._random)
        return at_s, client, service_s


@compiled
def _draw(
    at_s: Any, client: Any, service_s: Any, now_s: float, how: Any, keep: Any, other: Any, random: Any
) -> float:
    state, clients = random[0], len(keep)
    gap_s, mean_s, distribution = how
    for number in range(len(at_s)):
        state = next_state(state)
        now_s -= math.log1p(-unit(mixed(state))) * gap_s
        at_s[number] = now_s
        state = next_state(state)
        service_s[number] = mean_s
        if distribution == _EXPONENTIAL:
            service_s[number] *= -math.log1p(-unit(mixed(state)))
        elif distribution == _LOGNORMAL:
            radius = math.sqrt(-2.0 * math.log1p(-unit(mixed(state))))
            state = next_state(state)
            normal = radius * math.cos(2.0 * math.pi * unit(mixed(state)))  # Box and Muller
            service_s[number] *= math.exp(LOGNORMAL_SIGMA * (normal - LOGNORMAL_SIGMA / 2.0))
        state = next_state(state)
        bits = mixed(state)
        chosen = below(bits, clients)
        # The lower half of the bits decides between the two clients of the table's entry.
        if np.float64(bits & np.uint64(0xFFFF_FFFF)) * 2.0**-32 >= keep[chosen]:
            chosen = other[chosen]
        client[number] = chosen
    random[0] = state
    return now_s


@compiled
def alias_tables(weights: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Return for each entry the probability of keeping it, and the client drawn otherwise.

    Source: M. Vose, "A Linear Algorithm for Generating Random Numbers with a Given Distribution", IEEE
    Transactions on Software Engineering 17 (1991).
    """
    size = len(weights)
    keep = weights * (size / weights.sum())
    other = np.arange(size).astype(np.int32)
    order = np.empty(size, np.int32)  # small entries from the left, large ones from the right
    small, large = 0, size
    for place in range(size):
        if keep[place] < 1.0:
            order[small] = place
            small += 1
        else:
            large -= 1
            order[large] = place
    while small > 0 and large < size:
        small -= 1
        poor, rich = order[small], order[large]
        other[poor] = rich
        keep[rich] -= 1.0 - keep[poor]
        if keep[rich] < 1.0:
            large += 1
            order[small] = rich
            small += 1
    for place in range(small):  # what rounding leaves over
        keep[order[place]] = 1.0
    for place in range(large, size):
        keep[order[place]] = 1.0
    return keep, other


class FastMachine:
    """The balancer and the replicas of a fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        replicas = fleet.replicas
        self._free_s = np.zeros((replicas, fleet.slots))  # when each slot is free: a heap for each replica
        self._requests = np.zeros(replicas, np.int64)
        self._waits, self._latencies = new_counts(), new_counts()
        self._replica_of = np.full(fleet.clients, NOBODY, np.int32)
        asks = fleet.rule == "least_request"
        self._ends_s = np.empty((replicas if asks else 0, FIRST_ROOM))
        self._busy = np.zeros(replicas if asks else 0, np.int32)
        self._random = np.array([fleet.seed + 1], np.uint64)
        self._turn = np.zeros(1, np.int64)

    def serve(self, at_s: Any, client: Any, service_s: Any, limit_bytes: int | None = None) -> None:
        """Let requests arrive, in order of time. Raises ValueError when memory runs out."""
        histograms = (self._waits, self._latencies)
        picks = (RULES[self._fleet.rule], self._fleet.sticky)
        if self._fleet.rule != "least_request":
            fleet = (self._free_s, self._requests, self._replica_of)
            _serve_blocks(at_s, client, service_s, picks, *fleet, *histograms, self._turn, self._random)
            return
        done = 0
        while done < len(at_s):
            rest = (at_s[done:], client[done:], service_s[done:])
            state = (self._free_s, self._requests, self._replica_of, self._ends_s, self._busy)
            done += _serve_least_busy(*rest, self._fleet.sticky, *state, *histograms, self._random)
            if done < len(at_s):
                self._make_room(limit_bytes)

    def _make_room(self, limit_bytes: int | None) -> None:
        room = 2 * self._ends_s.shape[1]
        confirm_memory(self._fleet, room, limit_bytes)
        larger = np.empty((len(self._ends_s), room))
        larger[:, : room // 2] = self._ends_s
        self._ends_s = larger

    def place(self, replica_of: npt.NDArray[np.int32]) -> None:
        """Fix the replica of each client, (clients,), before anything arrives; for a sticky fleet."""
        self._replica_of = replica_of

    def outcome(self) -> FastOutcome:
        """Return what became of the requests so far."""
        return FastOutcome(self._requests, self._waits, self._latencies)


@compiled
def _serve_blocks(
    at_s: Any,
    client: Any,
    service_s: Any,
    picks: Any,
    free_s: Any,
    requests: Any,
    replica_of: Any,
    waits: Any,
    latencies: Any,
    turn: Any,
    random: Any,
) -> None:
    """Serve all requests, if the rule does not ask how busy replicas are.

    Picks come first, block by block, and then a look at the replicas that were picked. Both are many reads
    that do not depend on each other, so the processor waits for many at once. Between the branches of a queue
    it would wait for each.
    """
    picked, looks = np.empty(BLOCK, np.int32), np.empty(BLOCK)
    for first in range(0, len(at_s), BLOCK):
        last = min(first + BLOCK, len(at_s))
        _pick(client[first:last], picks, len(requests), replica_of, picked, turn, random)
        for number in range(last - first):
            looks[number] = free_s[picked[number], 0] + requests[picked[number]]
        for number in range(first, last):
            now_s, replica = at_s[number], picked[number - first]
            end_s = take_slot(free_s[replica], now_s, service_s[number])
            requests[replica] += 1
            count(waits, end_s - service_s[number] - now_s)
            count(latencies, end_s - now_s)


@compiled
def _pick(
    client: Any, picks: Any, replicas: int, replica_of: Any, picked: Any, turn: Any, random: Any
) -> None:
    """Pick a replica for each request, or, if sessions are sticky, for each client that has none."""
    rule, sticky = picks
    next_turn, state = turn[0], random[0]
    for number in range(len(client)):
        replica = replica_of[client[number]] if sticky else NOBODY
        if replica == NOBODY:
            if rule == ROUND_ROBIN:
                replica = next_turn
                next_turn = next_turn + 1 if next_turn + 1 < replicas else 0
            else:
                state = next_state(state)
                replica = below(mixed(state), replicas)
            if sticky:
                replica_of[client[number]] = replica
        picked[number] = replica
    turn[0], random[0] = next_turn, state


@compiled
def _serve_least_busy(
    at_s: Any,
    client: Any,
    service_s: Any,
    sticky: bool,
    free_s: Any,
    requests: Any,
    replica_of: Any,
    ends_s: Any,
    busy: Any,
    waits: Any,
    latencies: Any,
    random: Any,
) -> int:
    """Return how many requests were served: all, or those before a replica has no room for one more."""
    replicas, room = len(requests), ends_s.shape[1]
    state = random[0]
    served = 0
    for number in range(len(at_s)):
        now_s = at_s[number]
        replica = replica_of[client[number]] if sticky else NOBODY
        if replica == NOBODY:
            state = next_state(state)
            bits = mixed(state)
            replica = below(bits, replicas)
            other = below(bits << np.uint64(32), replicas)
            _forget_ended(ends_s[replica], busy, replica, now_s)
            _forget_ended(ends_s[other], busy, other, now_s)
            if busy[other] < busy[replica]:
                replica = other
            if sticky:
                replica_of[client[number]] = replica
        else:
            _forget_ended(ends_s[replica], busy, replica, now_s)
        if busy[replica] == room:
            break
        end_s = take_slot(free_s[replica], now_s, service_s[number])
        _remember(ends_s[replica], busy[replica], end_s)
        busy[replica] += 1
        requests[replica] += 1
        count(waits, end_s - service_s[number] - now_s)
        count(latencies, end_s - now_s)
        served += 1
    random[0] = state
    return served


@compiled
def take_slot(free_s: Any, now_s: float, service_s: float) -> float:
    """Take the slot that is free first, and return when the request ends. free_s: a heap of one replica."""
    end_s = max(now_s, free_s[0]) + service_s
    _sift_down(free_s, len(free_s), end_s)
    return end_s


@compiled
def _sift_down(heap: Any, size: int, value: float) -> None:
    """Replace the smallest value of a heap."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if value <= heap[child]:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = value


@compiled
def _forget_ended(ends_s: Any, busy: Any, replica: int, now_s: float) -> None:
    """Remove the requests that have ended from a replica's heap of ends."""
    while busy[replica] > 0 and ends_s[0] <= now_s:
        busy[replica] -= 1
        if busy[replica] > 0:
            _sift_down(ends_s, busy[replica], ends_s[busy[replica]])


@compiled
def _remember(ends_s: Any, size: int, end_s: float) -> None:
    place = size
    while place > 0 and ends_s[(place - 1) // 2] > end_s:
        ends_s[place] = ends_s[(place - 1) // 2]
        place = (place - 1) // 2
    ends_s[place] = end_s
