"""Which values a metric can have at all in a planned cell, and what an expectation can therefore not say.

Pure arithmetic on the plan: `check` uses it before a run, the judge after one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.metrics.metric import show
from harness.metrics.registry import CAPACITY, METRICS


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, both possible. Not `is_exact`: clocks may show a little more or less."""

    low: float = 0.0
    high: float = math.inf
    is_exact: bool = True


ANY_AMOUNT = Range()


@dataclass(frozen=True)
class Planned:
    """What the plan of an arm says that limits its metrics.

    replicas: that may answer during the cell, those of events included. placements: how many independent
    placements there are, where all requests of a client, session or connection go to one replica; None where
    requests are spread one by one. deadline_ms: no call takes longer, from its send; None: there is none.
    sent_on_time: sends do not wait for answers, so that the same is true from the planned send. events: their
    number. proxied: Envoy sees requests. streams, cache, target_groups, zones: whether there are any.
    searched: whether the experiment searches the arm's capacity.
    """

    replicas: int
    placements: int | None = None
    deadline_ms: float | None = None
    sent_on_time: bool = True
    events: int = 0
    proxied: bool = True
    streams: bool = False
    cache: bool = False
    target_groups: bool = False
    zones: bool = False
    searched: bool = False
    rate_changes: bool = False


def why_undefined(metric: str, planned: Planned) -> str | None:
    """Return why `metric` has no value in any cell of this plan, in words; None: it may have one."""
    group, _, leaf = metric.partition(".")
    shares = group in ("share", "attempt_share")
    if shares and (number := int(leaf.removeprefix("replica-"))) >= planned.replicas:
        names = "replica-0" if planned.replicas == 1 else f"replica-0 to replica-{planned.replicas - 1}"
        return f"there is no replica-{number}; expected {names}"
    if group.startswith("event") and (number := int(group.removeprefix("event"))) > planned.events:
        told = "no events" if not planned.events else f"{planned.events} event{'s'[: planned.events > 1]}"
        return f"the arm has {told}, and no event {number}"
    if group == "endpoints" and not (planned.events and planned.proxied):
        return "healthy endpoints are watched only behind Envoy and where there are events"
    if metric == CAPACITY and not planned.searched:
        return "the experiment has no `search`"
    lacking = {
        "cache": (planned.cache, "the replicas have no cache"),
        "stream": (planned.streams, "the workload has no streams"),
        "message_latency_ms": (planned.streams, "the workload has no streams"),
        "recovery_ms": (planned.rate_changes, "the rate does not change"),
        "knee_per_s": (planned.rate_changes, "the rate does not change"),
        "zones": (planned.zones, "the arm has no zones, or its route is not envoy"),
        "bytes": (planned.proxied, "only Envoy counts bytes, and the arm does not go through it"),
    }
    there, reason = lacking.get(group, (True, ""))
    if there and metric == "affinity.group_purity":
        there, reason = planned.target_groups, "the arm has no target groups"
    return None if there else reason


def range_of(metric: str, planned: Planned) -> Range:
    """Return the values that `metric` can have in a cell of this plan."""
    group, _, leaf = metric.partition(".")
    used = planned.replicas if planned.placements is None else min(planned.replicas, planned.placements)
    spread = group in ("spread", "attempts", "connections", "sessions", "messages", "busy_time")
    if spread and leaf in _SPREAD:
        even_over = planned.replicas if group != "spread" else used
        return _spread_range(leaf, planned.replicas, even_over)
    if metric == "per_client.replicas":
        return Range(1, planned.replicas)
    if group == "endpoints":
        return Range(0, planned.replicas)
    # A percentile of all requests is infinity where it falls on one that the deadline cut off.
    if planned.deadline_ms is not None and planned.sent_on_time and group == "ok_latency_ms":
        return Range(0, planned.deadline_ms, is_exact=False)
    if METRICS[metric].unit in ("share", "probability"):
        return Range(0, 1)
    return ANY_AMOUNT


def why_vacuous(bound: float, is_least: bool, possible: Range) -> str | None:
    """Return why a metric with these possible values always or never meets the bound; None: it may do either.

    A bound at the far end of the range is not vacuous: "at most 0 errors" can fail.
    """
    low, high = show(possible.low), show(possible.high) if possible.high < math.inf else "infinity"
    if (bound <= possible.low) if is_least else (bound >= possible.high):
        end = f"never below {low}" if is_least else f"never above {high}"
        return f"cannot fail: the metric is {end} here"
    if (bound > possible.high) if is_least else (bound < possible.low):
        end = f"never above {high}" if is_least else f"never below {low}"
        return f"cannot be met: the metric is {end} here"
    return None


def range_of_times(one: Range, other: Range) -> Range:
    """Return the values that the ratio of two metrics can have, each with its own possible values."""
    low = one.low / other.high if other.high > 0 else 0.0
    high = one.high / other.low if other.low > 0 else math.inf
    return Range(low, high, one.is_exact and other.is_exact)


_SPREAD = ("max_over_mean", "cv", "jain", "effective_replicas", "used_replicas")


def _spread_range(leaf: str, replicas: int, used: int) -> Range:
    """All on one replica is one end; even over `used` of the replicas the other."""
    if leaf == "max_over_mean":
        return Range(replicas / used, replicas)
    if leaf == "cv":
        return Range(math.sqrt(replicas / used - 1), math.sqrt(replicas - 1))
    if leaf == "jain":
        return Range(1 / replicas, used / replicas)
    # How many replicas were used is what shows whether placements hold. So they do not limit it.
    return Range(1, replicas if leaf == "used_replicas" else used)
