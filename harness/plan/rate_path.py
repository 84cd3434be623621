"""The rate of a cell over time: the shape that the file gives it, and the bursts that the seed draws."""

import math
import random
from bisect import bisect_right
from collections.abc import Sequence

from harness.metrics.metric import MAX_STEPS, steps_of, window_width_s
from harness.spec.experiment import Workload
from harness.spec.rate import Bursts, curve_of
from lb.plan import Load
from lb.rate_curve import RateCurve

Line = tuple[float, float]
STEADY = RateCurve([(0.0, 1.0)])


def rate_curve(work: Workload, seed: int, repeat: int) -> RateCurve | None:
    """Return the rate in the measured window of one repeat, as a multiple of its mean; None: it is steady."""
    if work.rate_per_s is None or not work.changes:
        return None
    shape = curve_of(work.rate_per_s, work.duration_s)
    if work.bursts is None:
        return shape
    return _product(shape or STEADY, drawn_bursts(work.bursts, work.duration_s, seed, repeat))


def planned_rates(load: Load, window_s: float) -> list[float]:
    """Return the mean planned rate of each step of the measured window, requests/s; none for a steady rate.

    The steps are those of WindowSeries.
    """
    if load.curve is None or load.rate_per_s is None:
        return []
    width_s = window_width_s(window_s, MAX_STEPS)
    count = steps_of(window_s)
    areas = [load.curve.area(min(step * width_s, window_s)) for step in range(count + 1)]
    widths = [min(width_s, window_s - step * width_s) for step in range(count)]
    return [
        round(load.rate_per_s * (after - before) / width, 3)
        for before, after, width in zip(areas, areas[1:], widths, strict=False)
    ]


def drawn_bursts(bursts: Bursts, duration_s: float, seed: int, repeat: int) -> list[Line]:
    """Return (second from which on, multiple of the mean rate), the first at 0, by time.

    Times in a burst and between bursts are exponential; the process begins in its steady state. It is the
    same for all clients of a repeat: they have a common cause.
    """
    rng = random.Random(f"bursts/{seed}/{repeat}")
    bursting, at_s, steps = rng.random() < bursts.share, 0.0, []
    while at_s < duration_s:
        steps.append((at_s, bursts.most if bursting else bursts.least))
        at_s += rng.expovariate(1 / (bursts.mean_s if bursting else bursts.every_s - bursts.mean_s))
        bursting = not bursting
    return steps


def _product(shape: RateCurve, steps: Sequence[Line]) -> RateCurve:
    """Return the shape times a function that is constant between its steps."""
    starts_s = [at_s for at_s, _ in shape.points]
    found: list[Line] = []
    for place, (from_s, times) in enumerate(steps):
        until_s = steps[place + 1][0] if place + 1 < len(steps) else math.inf
        found.append((from_s, shape.factor(from_s) * times))
        inside = shape.points[bisect_right(starts_s, from_s) : bisect_right(starts_s, until_s)]
        found += [(at_s, factor * times) for at_s, factor in inside]
        if until_s < math.inf and found[-1][0] < until_s:
            found.append((until_s, shape.factor(until_s) * times))
    return RateCurve(found)
