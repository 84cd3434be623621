"""Student's t distribution for whole degrees of freedom. Pure arithmetic; scipy is not needed for this."""

from __future__ import annotations

import math
from functools import cache

STEPS = 80  # halvings: more than a double has bits


def t_cdf(t: float, degrees: int) -> float:
    """Return P(T <= t) for Student's T with `degrees` degrees of freedom, at least 1.

    Closed forms 26.7.3 (odd) and 26.7.4 (even) of Abramowitz and Stegun, Handbook of Mathematical
    Functions, 1964.
    """
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2 == 1
    term = cosine if odd else 1.0
    total = term if degrees > 1 else 0.0
    for k in range(2 if odd else 1, degrees - 2, 2):
        term *= cosine * cosine * k / (k + 1)
        total += term
    central = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return (1 + central) / 2


@cache
def t_quantile(probability: float, degrees: int) -> float:
    """Return the t with P(T <= t) = `probability`, which is above one half and below 1."""
    low, high = 0.0, 1.0
    while t_cdf(high, degrees) < probability:
        low, high = high, high * 2
    for _ in range(STEPS):
        middle = (low + high) / 2
        if t_cdf(middle, degrees) < probability:
            low = middle
        else:
            high = middle
    return high
