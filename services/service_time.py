"""Service times: distributions with a mean, and ways to spend the time."""

import asyncio
import math
import time
from statistics import NormalDist
from typing import Any

from services.settings import ServiceTime

LOGNORMAL_SIGMA = 1.0  # standard deviation of the logarithm; the coefficient of variation is 1.31
# A bounded Pareto distribution: the longest time is PARETO_RANGE times the shortest. The coefficient of
# variation is 3.14; a hundredth of the requests has a fifth of the work.
PARETO_SHAPE, PARETO_RANGE = 1.5, 1000.0
_NORMAL = NormalDist()

_TICK_NS = 1_000_000  # uvloop's timers count whole milliseconds (libuv's uv_timer)
_SLICE_NS = 500_000


def draw_ns(service_time: ServiceTime, draw: float) -> int:
    """Return the service time, in nanoseconds, that belongs to a draw which is uniform in (0, 1).

    It is the distribution's quantile (inverse transform sampling), so a larger draw means a longer time in
    every distribution: arms whose replicas differ serve the same requests as the long ones.
    """
    mean_ms, draw = _kind(service_time, draw)
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


def _kind(service_time: ServiceTime, draw: float) -> tuple[float, float]:
    """Return the mean service time (ms) of the request's kind, and a draw that is uniform in (0, 1) again.

    The highest draws belong to dear requests.
    """
    dear = service_time.dear
    if dear is None:
        return service_time.mean, draw
    cheap_ms = service_time.mean / (1 + dear.share * (dear.factor - 1))
    cheap_share = 1 - dear.share
    if draw < cheap_share:
        return cheap_ms, draw / cheap_share
    # The number of bits is finite: the draw must stay above 0 and below 1.
    return dear.factor * cheap_ms, min(max((draw - cheap_share) / dear.share, 2**-53), 1 - 2**-53)


class Sleeper:
    """Sleeps with a correct mean, although the event loop's timers count whole milliseconds.

    The error of one sleep, up to a millisecond, is corrected in the next one. So the mean of many sleeps is
    right. A single one may be up to two milliseconds short: by its own error and by that of the one before.
    """

    def __init__(self) -> None:
        self._owed_ns = 0

    async def sleep(self, duration_ns: int) -> None:
        """Sleep for `duration_ns`, in the mean."""
        started_ns = time.monotonic_ns()
        wanted_ns = duration_ns + self._owed_ns
        self._owed_ns = 0
        ticks = round(wanted_ns / _TICK_NS)
        if ticks > 0:
            await asyncio.sleep(ticks * _TICK_NS / 1e9)
        missed_ns = wanted_ns - (time.monotonic_ns() - started_ns)
        self._owed_ns = max(-_TICK_NS, min(_TICK_NS, self._owed_ns + missed_ns))


async def burn(duration_ns: int) -> None:
    """Use `duration_ns` of this thread's CPU time, in slices between which the event loop runs."""
    left_ns = duration_ns
    while left_ns > 0:
        started_ns = time.thread_time_ns()
        until_ns = started_ns + min(left_ns, _SLICE_NS)
        while time.thread_time_ns() < until_ns:
            pass
        left_ns -= time.thread_time_ns() - started_ns
        await asyncio.sleep(0)
