"""Service times: distributions with a mean, and who costs more than others. Pure: nothing here waits."""

import functools
import math
from collections.abc import Mapping
from fractions import Fraction
from statistics import NormalDist
from typing import Any

from services.settings import DearRequests, ServiceTime
from services.uniform import uniform

LOGNORMAL_SIGMA = 1.0  # standard deviation of the logarithm; the coefficient of variation is 1.31
# A bounded Pareto distribution: the longest time is PARETO_RANGE times the shortest. The coefficient of
# variation is 3.14; a hundredth of the requests has a fifth of the work.
PARETO_SHAPE, PARETO_RANGE = 1.5, 1000.0
_NORMAL = NormalDist()


def service_draw(identity: str, work: int) -> float:
    """Return the draw of a call's work: of a stream, one for each message, from 1.

    identity: of the call's draws, see services.call.Call.
    """
    return uniform(f"{identity}/service/{work}")


def first_work_ns(service_time: ServiceTime, draw: str, request_id: int, client: int) -> int:
    """Return the service time (ns) that every replica draws for an AddVideo of the lab's load.

    draw: the name of the repeat, see lb.settings.ClientSettings.
    """
    return draw_ns(service_time, service_draw(f"{draw}/{request_id}", 1), client=client)


def draw_ns(
    service_time: ServiceTime, draw: float, *, client: int | None = None, method: str = "AddVideo"
) -> int:
    """Return the service time, in nanoseconds, that belongs to a draw which is uniform in (0, 1).

    client: number of the client that calls; None: not one of the lab's.

    It is the distribution's quantile (inverse transform sampling), so a larger draw means a longer time in
    every distribution: arms whose replicas differ serve the same requests as the long ones.
    """
    mean_ms, draw = _kind(service_time, draw, client, method)
    if mean_ms == 0:
        return 0
    if service_time.distribution == "exponential":
        ms = -mean_ms * math.log1p(-draw)
    elif service_time.distribution == "lognormal":
        # E[X] = exp(mu + sigma^2 / 2)
        mu = math.log(mean_ms) - LOGNORMAL_SIGMA**2 / 2
        ms = math.exp(mu + LOGNORMAL_SIGMA * _NORMAL.inv_cdf(draw))
    elif service_time.distribution == "pareto":
        ms = pareto(mean_ms, draw)
    else:
        ms = mean_ms
    return round(ms * 1e6)


def pareto(mean: float, draw: Any) -> Any:
    """Return a quantile of the bounded Pareto distribution, in the mean's unit. draw: a number or an array.

    Source of the formulas: M. Harchol-Balter, M. Crovella, C. Murta, "On choosing a task assignment policy
    for a distributed server system", Journal of Parallel and Distributed Computing 59 (1999).
    """
    below = 1 - PARETO_RANGE**-PARETO_SHAPE
    # The mean of one whose shortest time is 1.
    of_unit = PARETO_SHAPE / (PARETO_SHAPE - 1) * (1 - PARETO_RANGE ** (1 - PARETO_SHAPE)) / below
    return mean / of_unit * (1 - draw * below) ** (-1 / PARETO_SHAPE)


def mean_ms_of_method(service_time: ServiceTime, method: str) -> float:
    """Return the mean service time of a method, milliseconds, over its dear and its other requests."""
    means: Mapping[Any, float] = service_time.methods
    return means.get(method, service_time.mean)


def client_cost(service_time: ServiceTime, client: int | None) -> float:
    """Return the mean cost of a client's requests / the mean cost of all clients' requests.

    That is 1 where clients are alike. client: its number; None: not one of the lab's, so it is not dear.
    """
    dear = service_time.dear
    if dear is None or dear.by != "client":
        return 1.0
    own = dear.factor if client is not None and is_dear(client, dear.share) else 1.0
    return own / (1 + dear.share * (dear.factor - 1))


@functools.lru_cache(maxsize=100_000)
def is_dear(client: int, share: float) -> bool:
    """Return whether a client is dear: one of every 1 / share clients with successive numbers.

    Which one follows from a hash of the numbers, so replicas, simulator and predictions agree.
    """
    # The decimal number in the file: as a binary fraction, 1 / 0.05 is a little less than 20.
    exact = Fraction(str(share))
    group = math.floor(client * exact)
    first, end = math.ceil(group / exact), math.ceil((group + 1) / exact)
    return client - first == int(uniform(f"dear/{share}/{group}") * (end - first))


def dear_clients(dear: DearRequests, clients: int) -> list[int]:
    """Return the numbers of the dear clients of so many, with the smallest first."""
    return [client for client in range(clients) if is_dear(client, dear.share)]


def _kind(service_time: ServiceTime, draw: float, client: int | None, method: str) -> tuple[float, float]:
    """Return the mean service time (ms) of the request's kind, and a draw that is uniform in (0, 1) again.

    Where single requests are dear, the highest draws belong to them.
    """
    dear, mean_ms = service_time.dear, mean_ms_of_method(service_time, method)
    if dear is None or dear.by == "client":
        return mean_ms * client_cost(service_time, client), draw
    cheap_ms = mean_ms / (1 + dear.share * (dear.factor - 1))
    cheap_share = 1 - dear.share
    if draw < cheap_share:
        return cheap_ms, draw / cheap_share
    # The number of bits is finite: the draw must stay above 0 and below 1.
    return dear.factor * cheap_ms, min(max((draw - cheap_share) / dear.share, 2**-53), 1 - 2**-53)
