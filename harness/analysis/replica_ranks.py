"""Replicas by rank: the busiest of each repeat, the second, and so on.

Where nothing but chance tells replicas apart, a sticky balancer overloads another one in each repeat. Sums
and medians by name then look even although every repeat is uneven. So the replicas are ranked within each
repeat first, and only ranks are compared between repeats.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from harness.events.registry import kind_of
from harness.events.schedule import Event
from harness.metrics.facts import CellFacts
from harness.policies.registry import traits_of
from harness.spec.experiment import Arm, Experiment


def replicas_differ(experiment: Experiment) -> bool:
    """Return whether the experiment itself tells its replicas apart, so that their names mean something.

    It does by settings of single replicas, by weights, target groups or zones, and by events that happen
    to some of them.
    """
    return bool(experiment.replicas.different) or any(
        _weighted(arm) or any(map(_happens_to_some, experiment.events_of(arm)))
        for arm in experiment.arms.values()
    )


def _weighted(arm: Arm) -> bool:
    traits = traits_of(arm.route, arm.policy, arm.options)
    return bool(traits.weights or traits.groups or arm.cross_zone is not True)


def _happens_to_some(event: Event) -> bool:
    return kind_of(event.do).aim != "proxy" and event.target != "all"


def ranked(counts: Sequence[int]) -> list[float]:
    """Return each replica's share of the sum, the largest share first; empty if the sum is 0."""
    total = sum(counts)
    return [count / total for count in sorted(counts, reverse=True)] if total else []


def shares_by_rank(cells: Sequence[CellFacts]) -> list[float]:
    """Return the share of the answered requests of the busiest replica, of the second, ...

    Replicas are ranked within each cell; each value is the median over the cells that have such a rank. The
    first one times the number of replicas is `spread.max_over_mean`.
    """
    return [statistics.median(of_rank) for of_rank in _by_rank(cells)]


def _by_rank(cells: Sequence[CellFacts]) -> Iterator[list[float]]:
    for shares in zip_longest(*(ranked(list(cell.replica_requests.values())) for cell in cells)):
        yield [share for share in shares if share is not None]
