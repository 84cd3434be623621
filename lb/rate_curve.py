"""A rate that changes: how many times its mean it is at each moment, and when arrivals then come."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class RateCurve:
    """A rate over time, as a multiple of a mean rate.

    points: (seconds, factor), the first at 0, by time. Between two points the factor is a straight line. Two
    points at one time are a jump. Before the first point and after the last one the factor stays. No factor
    is below 0.
    """

    points: Sequence[Sequence[float]]

    @cached_property
    def _starts_s(self) -> list[float]:
        return [at_s for at_s, _ in self.points]

    @cached_property
    def _areas(self) -> list[float]:
        """The integral of the factor from 0 to each point."""
        areas = [0.0]
        for (from_s, one), (to_s, other) in zip(self.points, self.points[1:], strict=False):
            areas.append(areas[-1] + (to_s - from_s) * (one + other) / 2)
        return areas

    def _slope(self, place: int) -> float:
        """Return the slope of the line that begins at a point."""
        if place + 1 == len(self.points):
            return 0.0
        (from_s, one), (to_s, other) = self.points[place : place + 2]
        return (other - one) / (to_s - from_s) if to_s > from_s else 0.0

    def factor(self, at_s: float) -> float:
        """Return the factor at a moment; at a jump, the one after it."""
        place = max(0, bisect_right(self._starts_s, at_s) - 1)
        start_s, begins = self.points[place]
        return float(begins + self._slope(place) * (at_s - start_s))

    def area(self, until_s: float) -> float:
        """Return the integral of the factor from 0 to a moment, in seconds."""
        place = max(0, bisect_right(self._starts_s, until_s) - 1)
        start_s, begins = self.points[place]
        after_s = until_s - start_s
        return float(self._areas[place] + begins * after_s + self._slope(place) * after_s**2 / 2)

    def moment(self, area: float) -> float:
        """Return the last moment until which the integral is `area`, in seconds; infinity if it never is.

        Arrivals at the moments of a Poisson process of rate 1 are then arrivals of an inhomogeneous Poisson
        process with this rate (time change): E. Cinlar, Introduction to Stochastic Processes, 1975, section
        4.7. So a curve moves the arrivals in time, and neither their number nor their order depends on it.
        """
        place = bisect_right(self._areas, area) - 1
        start_s, begins = self.points[place]
        missing, slope = area - self._areas[place], self._slope(place)
        if missing <= 0:
            return float(start_s)
        # The root of begins x + slope x^2 / 2 = missing, in the form that loses no digits for a small slope.
        root = begins + math.sqrt(max(0.0, begins**2 + 2 * slope * missing))
        return float(start_s + 2 * missing / root) if root > 0 else math.inf
