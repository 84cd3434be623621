"""How many replicas Envoy had as healthy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.record_events import EndpointChange

ONE_LOOK_NS = 25_000_000  # what is written down that soon was seen in one look, half the time between two


@dataclass(frozen=True)
class Healthy:
    """Least and mean (over time) number of healthy replicas; None where Envoy was not watched."""

    least: int | None = None
    mean: float | None = None


def healthy_replicas(changes: Sequence[EndpointChange], start_ns: int, end_ns: int) -> Healthy:
    """Replicas in the state healthy while measuring, from `start_ns` to `end_ns`.

    changes: by time, the first of each replica its state when measuring began. What was known first counts
    from `start_ns` on.
    """
    if not changes or end_ns <= start_ns:
        return Healthy()
    first_look_ns = changes[0].at_ns + ONE_LOOK_NS
    first = [change for change in changes if change.at_ns <= max(first_look_ns, start_ns)]
    states = {change.replica: change.state for change in first}
    count, since_ns, area = _count(states), start_ns, 0
    least = count
    for change in changes[len(first) :]:
        if change.at_ns >= end_ns:
            break
        area += count * (change.at_ns - since_ns)
        states[change.replica] = change.state
        count, since_ns = _count(states), change.at_ns
        least = min(least, count)
    area += count * (end_ns - since_ns)
    return Healthy(least, area / (end_ns - start_ns))


def _count(states: dict[str, str]) -> int:
    return sum(state == "healthy" for state in states.values())
