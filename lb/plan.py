"""The plan of a load: which client sends which call at what time. It follows from a seed.

The plan is not stored. The same (seed, repeat, client, phase) gives the same calls at the same times on any
machine. So all arms of a repeat get the same arrivals, and any process may run any client.
"""

import functools
import heapq
import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lb.rate_curve import RateCurve

NS_PER_S = 1_000_000_000
Phase = Literal["warm_up", "measure"]
NOT_RECORDED = -1


@dataclass(frozen=True)
class Load:
    """The load of all clients together. Open loop: `rate_per_s` is set. Closed loop: `think_time_ms` is set.

    `skew`: exponent of the Zipf law of the clients' rates; 0: all rates are equal. `calls`: method -> weight.
    `recorded`: phase -> for each client its arrivals, ns from the phase's start; None: arrivals are drawn.
    `recorded_work`: likewise the service time of each arrival, ns, or NOT_RECORDED; None: replicas draw them.
    Recorded clients come in the order of their numbers of requests, the busiest first. `curve`: the rate of
    the measured phase over time, as a multiple of `rate_per_s`; None: it does not change.
    """

    clients: int
    rate_per_s: float | None
    think_time_ms: float | None
    skew: float
    calls: Mapping[str, float]
    seed: int
    repeat: int
    recorded: Mapping[Phase, Sequence[Sequence[int]]] | None = None
    recorded_work: Mapping[Phase, Sequence[Sequence[int]]] | None = None
    curve: RateCurve | None = None

    @property
    def draw(self) -> str:
        """The name of the repeat from which replicas draw service times: see ClientSettings."""
        return f"{self.seed}.{self.repeat}"


class PlannedCall(NamedTuple):
    """One planned call. `at_ns`: from the phase's start (open loop) or the last answer (closed loop).

    `work_ns`: the recorded service time of the request; NOT_RECORDED: the replica draws one.
    """

    at_ns: int
    method: str
    work_ns: int = NOT_RECORDED


def client_rate_per_s(load: Load, client: int) -> float:
    """Return the client's rate in an open loop: proportional to 1 / (client + 1) ** skew (Zipf's law).

    Of recorded arrivals: proportional to the client's number of requests.
    """
    if load.rate_per_s is None:
        raise ValueError("a closed loop has no planned rate")
    if load.recorded is not None:
        own = sum(len(phase[client]) for phase in load.recorded.values())
        return load.rate_per_s * own / _recorded_total(load)
    weight: float = (client + 1) ** -load.skew
    return load.rate_per_s * weight / _zipf_total(load.clients, load.skew)


def _recorded_total(load: Load) -> int:
    assert load.recorded is not None
    return sum(len(times) for phase in load.recorded.values() for times in phase)


@functools.cache
def _zipf_total(clients: int, skew: float) -> float:
    total: float = sum(rank**-skew for rank in range(1, clients + 1))
    return total


def first_phase(warm_up_s: float) -> Phase:
    """Return the phase in which every client opens its session."""
    return "warm_up" if warm_up_s else "measure"


def open_loop(load: Load, client: int, phase: Phase, duration_s: float, opens: bool) -> Iterator[PlannedCall]:
    """Yield the client's Poisson arrivals in [0, duration_s): exponential gaps with the client's rate.

    Where the rate changes, each arrival of the mean rate is moved to its moment: see RateCurve.moment. The
    warm-up has the rate with which the measured phase begins.
    `opens`: the session opens in this phase, with one additional call at 0. Recorded arrivals are yielded as
    they are: a recorded session opens with its first request.
    """
    if load.recorded is not None:
        yield from _recorded(load, client, phase)
        return
    rate_per_s = client_rate_per_s(load, client)
    moment = None
    if load.curve is not None and phase == "warm_up":
        rate_per_s *= load.curve.factor(0.0)
    elif load.curve is not None:
        moment = load.curve.moment
    rng = _generator(load, client, phase)
    methods, weights = list(load.calls), list(itertools.accumulate(load.calls.values()))
    if opens:
        yield PlannedCall(0, methods[0])
    if rate_per_s <= 0:
        return
    steady_s = rng.expovariate(rate_per_s)
    while (at_s := steady_s if moment is None else moment(steady_s)) < duration_s:
        yield PlannedCall(int(at_s * NS_PER_S), rng.choices(methods, cum_weights=weights)[0])
        steady_s += rng.expovariate(rate_per_s)


def _recorded(load: Load, client: int, phase: Phase) -> Iterator[PlannedCall]:
    assert load.recorded is not None
    rng = _generator(load, client, phase)
    methods, weights = list(load.calls), list(itertools.accumulate(load.calls.values()))
    arrivals = load.recorded[phase][client]
    work = itertools.repeat(NOT_RECORDED) if load.recorded_work is None else load.recorded_work[phase][client]
    for at_ns, work_ns in zip(arrivals, work, strict=False):
        yield PlannedCall(at_ns, rng.choices(methods, cum_weights=weights)[0], work_ns)


def closed_loop(load: Load, client: int, phase: Phase) -> Iterator[PlannedCall]:
    """Yield the client's calls without end. Each follows the last answer after an exponential think time."""
    assert load.think_time_ms is not None
    rng = _generator(load, client, phase)
    methods, weights = list(load.calls), list(itertools.accumulate(load.calls.values()))
    while True:
        think_ms = rng.expovariate(1 / load.think_time_ms) if load.think_time_ms else 0.0
        yield PlannedCall(int(think_ms * 1_000_000), rng.choices(methods, cum_weights=weights)[0])


def drawn_lifetime_s(mean_s: float, draw: str, client: int, number: int) -> float:
    """Return how long a session lasts where lifetimes vary (exponential), in seconds: the same in every arm.

    draw: as Load.draw. number: which of its client's sessions it is, from 0.
    """
    return random.Random(f"lifetime/{draw}/{client}.{number}").expovariate(1 / mean_s)


def planned_requests(
    load: Load, warm_up_s: float, duration_s: float, clients: Iterable[int] | None = None
) -> int:
    """Return how many calls these clients (None: all) plan in the measured phase of an open loop."""
    opens = first_phase(warm_up_s) == "measure"
    numbers = range(load.clients) if clients is None else clients
    return sum(1 for client in numbers for _ in open_loop(load, client, "measure", duration_s, opens))


def split_clients(load: Load, workers: int) -> list[list[int]]:
    """Return the clients of each worker, in ascending order. Every client belongs to one worker.

    Each client goes to the worker with the lowest rate so far; the client with the highest rate comes first.
    In a closed loop all clients count alike. Raises ValueError without a worker.
    """
    if workers < 1:
        raise ValueError(f"{workers} workers, expected at least 1")
    shares: list[list[int]] = [[] for _ in range(workers)]
    lowest_first = [(0.0, 0, worker) for worker in range(workers)]
    # Rates fall with the client's number, so clients come in the order of their rates.
    for client in range(load.clients):
        rate_per_s, count, worker = lowest_first[0]
        shares[worker].append(client)
        weight = 1.0 if load.rate_per_s is None else client_rate_per_s(load, client)
        heapq.heapreplace(lowest_first, (rate_per_s + weight, count + 1, worker))
    return shares


def _generator(load: Load, client: int, phase: Phase) -> random.Random:
    # random.Random hashes a text seed (SHA-512), so neighbouring clients get independent numbers.
    return random.Random(f"{load.seed}/{load.repeat}/{client}/{phase}")
