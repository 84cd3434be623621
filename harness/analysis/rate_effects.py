"""What a rate that changes does to requests: when they begin to be late, and when that has ended. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.metrics.facts import RateEffects
from harness.metrics.metric import MAX_STEPS, steps_of, window_width_s

if TYPE_CHECKING:
    from harness.metrics.facts import Floats, Ints

USUAL_PART = 8  # the first part of the measured window, one of so many, says which latency is usual
LATE_TIMES = 2  # times its 95th percentile
LATE_SHARE = 0.1  # of the requests of a step, from which on the step is late
NS_PER_S = 1e9


def rate_effects_of(
    at_ns: Ints, latency_ns: Ints, ok: npt.NDArray[np.bool_], planned_per_s: Sequence[float], window_s: float
) -> RateEffects | None:
    """Return what the rate did; None where it did not change, or where the window was cut short.

    at_ns, latency_ns, ok: of each request of the window, (requests,); at_ns from the start of measuring.
    planned_per_s: see harness.plan.rate_path.planned_rates.
    """
    width_s = window_width_s(window_s, MAX_STEPS)
    if not planned_per_s or len(planned_per_s) != steps_of(window_s):
        return None
    rates = np.array(planned_per_s)
    first = np.sort(latency_ns[ok & (at_ns < window_s * NS_PER_S / USUAL_PART)])
    if not len(first):
        return RateEffects(rates, width_s, None, None, None)
    usual_ns = float(first[math.ceil(round(0.95 * len(first), 6)) - 1])
    step = np.clip((at_ns / (width_s * NS_PER_S)).astype(np.int64), 0, len(rates) - 1)
    requests = np.bincount(step, minlength=len(rates))
    late_requests = np.bincount(step[~ok | (latency_ns > LATE_TIMES * usual_ns)], minlength=len(rates))
    late = _in_pairs(late_requests >= np.maximum(LATE_SHARE * requests, 1))
    knee = float(rates[late.argmax()]) if late.any() else None
    return RateEffects(rates, width_s, usual_ns, _recovery_s(late, rates, width_s), knee)


def _in_pairs(late: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which steps are late, and the one before or after, too: a single one may be a hiccup."""
    before, after = np.roll(late, 1), np.roll(late, -1)
    before[0] = after[-1] = False
    return late & (before | after)


def _recovery_s(late: npt.NDArray[np.bool_], rates: Floats, width_s: float) -> float | None:
    """Return how long steps were late after the last one with more than the mean rate."""
    high = np.flatnonzero(rates > rates.mean() * (1 + 1e-9))
    if not len(high) or high[-1] == len(rates) - 1:
        return None
    begins = int(high[-1]) + 1
    following = np.flatnonzero(late[begins:])
    return round((int(following[-1]) + 1) * width_s, 9) if len(following) else 0.0
