"""How soon replicas that came carry their share of the load."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from harness.moves import BRINGS, TAKES
from harness.record_events import AskedEvent

LEAST_OF_FAIR = 0.8
_MIN_CARRIED = 2  # a replica, on average: fewer in a time window say nothing


def present_after(first: Sequence[str], events: Sequence[AskedEvent]) -> set[str]:
    """The replicas that take part once these events are over. first: those at the start."""
    present = set(first)
    for event in events:
        if event.do in BRINGS:
            present |= set(event.targets)
        elif event.do in TAKES and event.do != "roll":
            present -= set(event.targets)
    return present


def fair_share_after(
    answered: pl.DataFrame, from_ns: int, to_ns: int, width_ns: int, targets: Sequence[int], present: int
) -> float:
    """ns from `from_ns` to the end of the first time window in which each target has its share, or nearly so.

    The time from `from_ns` to `to_ns` is cut into windows of `width_ns`; the fair share is 1 / `present` of a
    window's answered requests, whatever the replicas' sizes and weights, and LEAST_OF_FAIR of it is enough.
    Windows with less than two answers a replica do not count. `to_ns - from_ns` when it never comes.
    answered: at_ns, replica (number).
    """
    windows = (to_ns - from_ns) // width_ns
    within = answered.filter(pl.col("at_ns").is_between(from_ns, from_ns + windows * width_ns, closed="left"))
    place = (within["at_ns"].to_numpy() - from_ns) // width_ns
    replica = within["replica"].to_numpy()
    counts = [np.bincount(place[replica == target], minlength=windows) for target in targets]
    total = np.bincount(place, minlength=windows)
    if not windows or not counts or not present:
        return float(to_ns - from_ns)
    enough = np.min(counts, axis=0) >= LEAST_OF_FAIR * total / present
    found = np.flatnonzero(enough & (total >= _MIN_CARRIED * present))
    return float((found[0] + 1) * width_ns) if len(found) else float(to_ns - from_ns)
