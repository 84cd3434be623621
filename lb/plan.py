"""The plan of a load: which client sends which call when, from a seed alone.

Nothing is stored: the same (seed, repeat, client, phase) gives the same calls at the same times on any
machine, so every arm of a repeat meets the same arrivals and processes may share the clients out freely.
"""

import functools
import heapq
import itertools
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

NS_PER_S = 1_000_000_000
Phase = Literal["warm_up", "measure"]


@dataclass(frozen=True)
class Load:
    """What all clients together send. Exactly one of `rate_per_s` (open loop) and `think_time_ms` is set."""

    clients: int
    rate_per_s: float | None
    think_time_ms: float | None
    skew: float
    calls: Mapping[str, float]
    seed: int
    repeat: int


class PlannedCall(NamedTuple):
    """One call of the plan. `at_ns`: open loop, from the phase's start; closed loop, from the last answer."""

    at_ns: int
    method: str


def client_rate_per_s(load: Load, client: int) -> float:
    """The client's share of an open loop's rate: proportional to 1 / (client + 1) ** skew (Zipf)."""
    if load.rate_per_s is None:
        raise ValueError("a closed loop has no planned rate")
    weight: float = (client + 1) ** -load.skew
    return load.rate_per_s * weight / _zipf_total(load.clients, load.skew)


@functools.cache
def _zipf_total(clients: int, skew: float) -> float:
    total: float = sum(rank**-skew for rank in range(1, clients + 1))
    return total


def first_phase(warm_up_s: float) -> Phase:
    """The phase in which every client opens its session."""
    return "warm_up" if warm_up_s else "measure"


def open_loop(load: Load, client: int, phase: Phase, duration_s: float, opens: bool) -> Iterator[PlannedCall]:
    """The client's Poisson arrivals in [0, duration_s): exponential gaps at its own rate.

    `opens`: the session opens in this phase, with one more call at 0.
    """
    rate_per_s = client_rate_per_s(load, client)
    rng = _generator(load, client, phase)
    methods, weights = list(load.calls), list(itertools.accumulate(load.calls.values()))
    if opens:
        yield PlannedCall(0, methods[0])
    at_s = rng.expovariate(rate_per_s)
    while at_s < duration_s:
        yield PlannedCall(int(at_s * NS_PER_S), rng.choices(methods, cum_weights=weights)[0])
        at_s += rng.expovariate(rate_per_s)


def closed_loop(load: Load, client: int, phase: Phase) -> Iterator[PlannedCall]:
    """The client's calls without end, each after an exponential think time that follows the last answer."""
    assert load.think_time_ms is not None
    rng = _generator(load, client, phase)
    methods, weights = list(load.calls), list(itertools.accumulate(load.calls.values()))
    while True:
        think_ms = rng.expovariate(1 / load.think_time_ms) if load.think_time_ms else 0.0
        yield PlannedCall(int(think_ms * 1_000_000), rng.choices(methods, cum_weights=weights)[0])


def planned_requests(
    load: Load, warm_up_s: float, duration_s: float, clients: Iterable[int] | None = None
) -> int:
    """How many calls the measured phase of an open loop plans, these clients (None: all) together."""
    opens = first_phase(warm_up_s) == "measure"
    numbers = range(load.clients) if clients is None else clients
    return sum(1 for client in numbers for _ in open_loop(load, client, "measure", duration_s, opens))


def split_clients(load: Load, workers: int) -> list[list[int]]:
    """Which clients each worker plays: every client in one hand, numbers ascending.

    The client with the highest rate first, each to the worker that has least to send so far. In a closed
    loop all clients count alike. Raises ValueError without a worker.
    """
    if workers < 1:
        raise ValueError(f"{workers} workers, expected at least 1")
    hands: list[list[int]] = [[] for _ in range(workers)]
    least_first = [(0.0, 0, worker) for worker in range(workers)]
    # Rates fall with the client's number, so the order of numbers is that of rates.
    for client in range(load.clients):
        sent_per_s, held, worker = least_first[0]
        hands[worker].append(client)
        weight = 1.0 if load.rate_per_s is None else client_rate_per_s(load, client)
        heapq.heapreplace(least_first, (sent_per_s + weight, held + 1, worker))
    return hands


def _generator(load: Load, client: int, phase: Phase) -> random.Random:
    # A text seed is hashed (SHA-512), so neighbouring clients get unrelated streams.
    return random.Random(f"{load.seed}/{load.repeat}/{client}/{phase}")
