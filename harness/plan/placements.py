"""Where sessions fall: the shares of the targets when each client is placed once, without any queue.

A placement that gives a target more than it can serve overloads it for as long as the sessions stay, whatever
the queues do. So the probability of overload takes no simulation.
"""

import functools
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from harness.plan.question import MAX_CLIENTS, MAX_TARGETS, FleetQuestion

Floats: TypeAlias = npt.NDArray[np.float64]
Places: TypeAlias = npt.NDArray[np.int32]

PLACEMENTS = 2_000  # drawn for a probability: its standard error is 1.1 % at most
_SEARCHED = 400  # placements of each number that a search tries
NAMED_CLIENTS = 2_000  # clients that are placed one by one; the others together are nearly even
RARE = 0.05  # the probability of overload that counts as safe


@functools.lru_cache(maxsize=64)
def client_shares(clients: int, skew: float) -> Floats:
    """Return the share of the requests of each client, (clients,), largest first: Zipf's law."""
    weights = np.arange(1, clients + 1, dtype=np.float64) ** -skew
    shares: Floats = weights / weights.sum()
    shares.flags.writeable = False
    return shares


def shares_of(question: FleetQuestion) -> Floats:
    """Return each client's share of the requests, (clients,), largest first: the trace's, or Zipf's law."""
    if question.recorded is None:
        return client_shares(question.clients, question.skew)
    counts = question.recorded.requests_of
    shares: Floats = np.sort(counts)[::-1] / counts.sum()
    return shares


def deal(clients: int, targets: int, random: np.random.Generator) -> Places:
    """Return the target of each client, (clients,), when the balancer takes turns over new sessions.

    Sessions begin in random order, whatever the clients' rates.
    """
    return (random.permutation(clients) % targets).astype(np.int32)


def hashed(clients: int, targets: int, random: np.random.Generator) -> Places:
    """Return the target of each client, (clients,), when a hash of its name decides: any, equally likely."""
    return random.integers(targets, size=clients, dtype=np.int32)


def busiest_shares(
    shares: Floats, targets: int, seed: int, *, dealt: bool, placements: int = PLACEMENTS
) -> Floats:
    """Return the busiest target's share of all requests in each of some placements, (placements,).

    shares: of the clients, largest first.
    dealt: as `deal`, else as `hashed`. The largest NAMED_CLIENTS clients are placed one by one. Many small
    ones are added as a normal distribution with the same mean and variance.
    """
    clients = len(shares)
    random = np.random.default_rng([seed, clients, targets])
    named, rest = shares[:NAMED_CLIENTS], shares[NAMED_CLIENTS:]
    rest_each = rest.sum() / targets
    spread = np.sqrt((rest**2).sum() * (1 / targets) * (1 - 1 / targets))
    found = np.empty(placements)
    one_by_one = dealt and not len(rest)
    for number in range(placements):
        place = deal(clients, targets, random) if one_by_one else hashed(len(named), targets, random)
        loads = np.bincount(place, named, targets)
        if len(rest):
            loads = loads + rest_each + spread * random.standard_normal(targets)
        found[number] = loads.max()
    return found


def overload_probability(
    question: FleetQuestion, *, dealt: bool = False, placements: int = PLACEMENTS
) -> float:
    """Return the share of placements in which some target gets more than it can serve."""
    own = question
    busiest = busiest_shares(shares_of(own), own.targets, own.seed, dealt=dealt, placements=placements)
    return float(np.mean(busiest * own.rate_per_s > own.target_per_s))


def heaviest_per_s(question: FleetQuestion) -> float:
    """Return the rate of the client that sends most."""
    return float(shares_of(question)[0]) * question.rate_per_s


def clients_for_rare_overload(question: FleetQuestion) -> int | None:
    """Return how many clients, with the same rate in all, make overload RARE; None if no number does.

    It is the smallest number of a grid whose steps are 10 %.
    """
    return _first(_growing(question.clients, MAX_CLIENTS), lambda count: _with_clients(question, count))


def targets_for_rare_overload(question: FleetQuestion) -> int | None:
    """Return how many targets of the same size make overload RARE; None if no number does.

    It is exact up to ten targets, else the smallest of a grid whose steps are 10 %.
    """
    if heaviest_per_s(question) > question.target_per_s:
        return None
    least = max(1, int(np.ceil(question.rate_per_s / question.target_per_s)))
    return _first(_growing(least, MAX_TARGETS), lambda count: _with_targets(question, count))


def _with_clients(question: FleetQuestion, clients: int) -> float:
    shares = client_shares(clients, question.skew)
    busiest = busiest_shares(shares, question.targets, question.seed, dealt=True, placements=_SEARCHED)
    return float(np.mean(busiest * question.rate_per_s > question.target_per_s))


def _with_targets(question: FleetQuestion, targets: int) -> float:
    return overload_probability(question.with_targets(targets), dealt=True, placements=_SEARCHED)


def _growing(first: int, most: int) -> Iterator[int]:
    count = first
    while count < most:
        yield count
        count = max(count + 1, int(count * 1.1))
    yield most


def _first(grid: Iterator[int], probability: Callable[[int], float]) -> int | None:
    """Return the first number of a growing grid for which overload is RARE: by bisection."""
    numbers = list(grid)
    if probability(numbers[-1]) > RARE:
        return None
    low, high = -1, len(numbers) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if probability(numbers[middle]) <= RARE else (middle, high)
    return numbers[high]
