"""What `make capacity` measures: the points, in the order in which they are taken."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

What = Literal["lab", "load", "envoy", "replica"]
CALM_CORES = 0.25  # what others may take; the machine's own housekeeping is below half of that
ROUNDS = 3
RATES_PER_S = (100, 200, 400, 800, 1200, 1600)
CLIENTS = (6, 96, 384, 1536)
REPLICAS = (2, 32)
DIRECT_RATES_PER_S = (400, 800, 1200)
LOAD_RATES_PER_S = (200, 400, 800, 1600, 2400, 3200, 4000, 5000, 6000)
ENVOY_RATES_PER_S = (1000, 2000, 4000, 8000, 0)
REPLICA_RATES_PER_S = (250, 500, 1000, 2000, 3000, 0)
USUAL_RATE_PER_S, USUAL_CLIENTS, USUAL_REPLICAS = 400, 24, 8
CONNECTIONS = 24  # of the cheap caller, alone with one part


@dataclass(frozen=True)
class Point:
    """One measurement of a few seconds.

    what: "lab", a cell with our load process on that route; "load", "envoy" or "replica", that part alone
    with cheap peers, `clients` being connections and `replicas` what stands for them. rate_per_s: planned;
    0: as fast as it is answered.
    """

    what: What
    route: str
    rate_per_s: int
    clients: int
    replicas: int
    round: int


def points(quick: bool) -> list[Point]:
    """All points, the rounds one after another, so that a change of the machine touches every point alike.

    `quick`: one round of every other step of each ladder, the last included.
    """
    if quick:
        return list(_round(1, 2))
    return [point for number in range(1, ROUNDS + 1) for point in _round(number, 1)]


def _round(number: int, step: int) -> Iterator[Point]:
    for rate_per_s in _steps(RATES_PER_S, step):
        yield Point("lab", "envoy", rate_per_s, USUAL_CLIENTS, USUAL_REPLICAS, number)
    for clients in _steps(CLIENTS, step):
        yield Point("lab", "envoy", USUAL_RATE_PER_S, clients, USUAL_REPLICAS, number)
    for replicas in _steps(REPLICAS, step):
        yield Point("lab", "envoy", USUAL_RATE_PER_S, USUAL_CLIENTS, replicas, number)
    # Both at once: a law of sums must hold where nothing is as usual.
    yield Point("lab", "envoy", 1200, 384, USUAL_REPLICAS, number)
    for rate_per_s in _steps(DIRECT_RATES_PER_S, step):
        yield Point("lab", "direct", rate_per_s, USUAL_CLIENTS, USUAL_REPLICAS, number)
    yield Point("lab", "direct", USUAL_RATE_PER_S, 384, USUAL_REPLICAS, number)
    for rate_per_s in _steps(LOAD_RATES_PER_S, step):
        yield Point("load", "direct", rate_per_s, USUAL_CLIENTS, 1, number)
    for rate_per_s in _steps(ENVOY_RATES_PER_S, step):
        yield Point("envoy", "envoy", rate_per_s, CONNECTIONS, 4, number)
    for rate_per_s in _steps(REPLICA_RATES_PER_S, step):
        yield Point("replica", "direct", rate_per_s, CONNECTIONS, 1, number)


def _steps(ladder: Sequence[int], step: int) -> Sequence[int]:
    return ladder[::-step][::-1]
