"""METRICS: what can be expected of a cell, by name. Pure arithmetic on CellFacts.

Imports no numpy and no polars: checking an experiment file needs the names, and must stay quick.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.facts import CellFacts

NS_PER_MS = 1e6

Number = float | None


@dataclass(frozen=True)
class Metric:
    """`compute` gives the metric of one cell in `unit`, or None where it is not defined there."""

    unit: str
    meaning: str
    compute: Callable[[CellFacts], Number]


def mean_of(counts: Sequence[int]) -> float:
    """Mean of per-replica counts; 0 for none."""
    return sum(counts) / len(counts) if counts else 0.0


def max_over_mean(counts: Sequence[int]) -> Number:
    """Busiest replica's requests / fair share: 1 is even, len(counts) is all on one."""
    return max(counts) / mean_of(counts) if sum(counts) else None


def cv(counts: Sequence[int]) -> Number:
    """Coefficient of variation: population standard deviation / mean."""
    if not sum(counts):
        return None
    mean = mean_of(counts)
    return math.sqrt(sum((count - mean) ** 2 for count in counts) / len(counts)) / mean


def effective_replicas(counts: Sequence[int]) -> Number:
    """1 / sum(share^2), in [1, len(counts)]: the inverse Simpson index (E. H. Simpson, Nature 163, 1949)."""
    total = sum(counts)
    return total**2 / sum(count**2 for count in counts) if total else None


def jain(counts: Sequence[int]) -> Number:
    """Jain's fairness index, effective_replicas / n, in [1/n, 1] (Jain, Chiu, Hawe, DEC TR-301, 1984)."""
    effective = effective_replicas(counts)
    return None if effective is None else effective / len(counts)


def max_off_fair(counts: Sequence[int]) -> Number:
    """Largest distance of a replica's requests from the fair share, in requests."""
    mean = mean_of(counts)
    return max(abs(count - mean) for count in counts) if sum(counts) else None


def chi2_survival(x: float, degrees: int) -> float:
    """P(X >= x) of a chi-square variable X with a whole number of degrees of freedom, at least 1.

    Closed forms 26.4.4 (odd) and 26.4.5 (even) of Abramowitz and Stegun, Handbook of Mathematical
    Functions, 1964. Terms are added as logarithms, so that large x does not overflow.
    """
    half = x / 2
    if half <= 0:
        return 1.0
    first = 0.5 if degrees % 2 else 0.0
    powers = (first + k for k in range(degrees // 2))
    terms = sum(math.exp(power * math.log(half) - half - math.lgamma(power + 1)) for power in powers)
    tail = math.erfc(math.sqrt(half)) if degrees % 2 else 0.0
    return min(1.0, tail + terms)


def chi2_p(counts: Sequence[int]) -> Number:
    """P-value of Pearson's chi-square test that every replica is equally likely to get a request."""
    if not sum(counts) or len(counts) < 2:
        return None
    mean = mean_of(counts)
    return chi2_survival(sum((count - mean) ** 2 for count in counts) / mean, len(counts) - 1)


def _ms(ns: Number) -> Number:
    return None if ns is None else ns / NS_PER_MS


def _share(part: float, whole: float) -> Number:
    return part / whole if whole else None


def _of_spread(function: Callable[[Sequence[int]], Number]) -> Callable[[CellFacts], Number]:
    return lambda facts: function(list(facts.replica_requests.values()))


def _off_fair_per_client(facts: CellFacts) -> Number:
    return max(
        (off for row in facts.client_requests.values() if (off := max_off_fair(row)) is not None),
        default=None,
    )


def _percentiles(
    field: str, names: Sequence[str], what: str
) -> dict[str, tuple[str, Callable[[CellFacts], Number]]]:
    def of(name: str) -> Callable[[CellFacts], Number]:
        return lambda facts: _ms(getattr(facts, field).get(name))

    return {name: (f"{_RANKS[name]} of {what}", of(name)) for name in names}


_RANKS = {
    "p50": "Median",
    "p90": "90th percentile",
    "p95": "95th percentile",
    "p99": "99th percentile",
    "p999": "99.9th percentile",
    "max": "Largest",
}

_WAITS = {
    "latency_ms": ("latency_ns", tuple(_RANKS), "the time from the planned send to the end of the call"),
    "latency_from_send_ms": (
        "latency_from_send_ns",
        tuple(_RANKS),
        "the time from the send to the end of the call",
    ),
    "lag_ms": ("lag_ns", ("p50", "p99", "max"), "how late the load generator sent (sent - planned)"),
    "queue_ms": (
        "queue_ns",
        ("p50", "p99", "max"),
        "the time that a request waited for a slot in its replica",
    ),
}

METRICS: dict[str, Metric] = {
    "requests": Metric(
        "requests", "Requests planned for and made in the measured window", lambda f: f.requests
    ),
    "error_share": Metric(
        "share",
        "Requests that did not end with OK / all",
        lambda f: _share(sum(f.errors.values()), f.requests),
    ),
    "spread.max_over_mean": Metric(
        "ratio", "Busiest replica's requests / fair share; 1 is even", _of_spread(max_over_mean)
    ),
    "spread.cv": Metric(
        "ratio", "Standard deviation / mean of the replicas' requests; 0 is even", _of_spread(cv)
    ),
    "spread.jain": Metric("index", "Jain's fairness index, 1/n (all on one) to 1 (even)", _of_spread(jain)),
    "spread.effective_replicas": Metric(
        "replicas",
        "1 / sum(share^2): how many evenly used replicas the load amounts to",
        _of_spread(effective_replicas),
    ),
    "spread.chi2_p": Metric(
        "probability", "Chance that replicas drawn at random would be at least as uneven", _of_spread(chi2_p)
    ),
    "balance.max_off_fair_requests": Metric(
        "requests", "Largest distance of a replica's requests from the fair share", _of_spread(max_off_fair)
    ),
    "balance.max_off_fair_per_client_requests": Metric(
        "requests", "The same counted for each client alone, the worst client", _off_fair_per_client
    ),
    "affinity.sessions": Metric("sessions", "Sessions with an answered request", lambda f: f.sessions),
    "affinity.purity": Metric(
        "share",
        "Share of a session's requests on its most used replica, over sessions weighted by requests",
        lambda f: _share(f.session_top_requests, f.session_requests),
    ),
    "affinity.breaks": Metric(
        "breaks", "Times that a session's next request went to another replica", lambda f: f.breaks
    ),
    **{
        f"{prefix}.{name}": Metric("ms", meaning, compute)
        for prefix, (field, names, what) in _WAITS.items()
        for name, (meaning, compute) in _percentiles(field, names, what).items()
    },
    "in_flight.p99": Metric(
        "requests",
        "99th percentile of the requests inside the answering replica",
        lambda f: f.in_flight.get("p99"),
    ),
    "in_flight.max": Metric(
        "requests", "Most requests inside one replica at a time", lambda f: f.in_flight.get("max")
    ),
    "planned_rate_per_s": Metric(
        "requests/s", "Planned sends in the measured window / its length", lambda f: f.planned_rate_per_s
    ),
    "achieved_rate_per_s": Metric(
        "requests/s", "Sends in the measured window / its length", lambda f: f.achieved_rate_per_s
    ),
}
