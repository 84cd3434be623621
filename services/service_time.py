"""Service times: distributions with a mean, and ways to spend the time."""

import asyncio
import math
import random
import time
from dataclasses import dataclass

DISTRIBUTIONS = ("constant", "exponential", "lognormal")
LOGNORMAL_SIGMA = 1.0  # standard deviation of the logarithm; the coefficient of variation is 1.31
MEAN_LIMIT_MS = 60_000.0

_TICK_NS = 1_000_000  # uvloop's timers count whole milliseconds (libuv's uv_timer)
_SLICE_NS = 500_000


@dataclass(frozen=True)
class ServiceTime:
    """A distribution of service times: its name and its mean in milliseconds.

    Raises ValueError with a message for the user for an unknown name or a mean out of bounds.
    """

    distribution: str
    mean_ms: float

    def __post_init__(self) -> None:
        if self.distribution not in DISTRIBUTIONS:
            raise ValueError(
                f"distribution {self.distribution!r} is unknown, expected one of {', '.join(DISTRIBUTIONS)}"
            )
        if not 0 <= self.mean_ms <= MEAN_LIMIT_MS:
            raise ValueError(f"mean_ms is {self.mean_ms:g}, expected 0 to {MEAN_LIMIT_MS:g} milliseconds")

    @classmethod
    def parse(cls, text: str) -> "ServiceTime":
        """Return the distribution for a text like "exponential:10" (mean in ms). Raises ValueError."""
        distribution, _, mean = text.partition(":")
        try:
            mean_ms = float(mean)
        except ValueError:
            raise ValueError(f"{text!r}: expected DISTRIBUTION:MEAN_MS, as exponential:10") from None
        return cls(distribution, mean_ms)

    def draw_ns(self, rng: random.Random) -> int:
        """Return one random service time in nanoseconds."""
        if self.mean_ms == 0:
            return 0
        if self.distribution == "exponential":
            ms = rng.expovariate(1 / self.mean_ms)
        elif self.distribution == "lognormal":
            # E[X] = exp(mu + sigma^2 / 2)
            ms = rng.lognormvariate(math.log(self.mean_ms) - LOGNORMAL_SIGMA**2 / 2, LOGNORMAL_SIGMA)
        else:
            ms = self.mean_ms
        return round(ms * 1e6)


class Sleeper:
    """Sleeps with a correct mean, although the event loop's timers count whole milliseconds.

    The error of one sleep, up to a millisecond, is corrected in the next one.
    """

    def __init__(self) -> None:
        self._owed_ns = 0

    async def sleep(self, duration_ns: int) -> None:
        """Sleep for `duration_ns`, to within one millisecond."""
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
