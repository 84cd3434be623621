"""PREDICTED: the metrics that a simulated cell has, computed from its outcome alone.

They mean what METRICS says. A test holds them against the metrics of a simulated run. They are computed again
here because a prediction has hundreds of cells and two seconds: writing and joining ledgers takes longer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis.rate_effects import rate_effects_of
from harness.metrics.facts import RateEffects
from harness.metrics.metric import (
    NS_PER_MS,
    RANKS,
    Number,
    cv,
    effective_replicas,
    jain,
    max_off_fair,
    max_over_mean,
    reported,
)
from harness.metrics.registry import COUNTED_CODES, NAMED_REPLICAS
from harness.testbed.simulated.codes import CODES

if TYPE_CHECKING:
    from simulator.system import Calls, Outcome

OK = CODES["OK"]


@dataclass(frozen=True)
class PredictedCell:
    """One simulated cell: its calls, what became of them, and the length of its window.

    planned_per_s: see harness.plan.rate_path.planned_rates. costs: (calls,) the mean cost of each call's
    client / that of all; None: clients are alike. hit_factor: service time of a request that hits the session
    cache / of any other request. zones: of each node of the proxy, and of each replica; None: there are none.
    """

    calls: Calls
    outcome: Outcome
    replicas: int
    window_s: float
    planned_per_s: Sequence[float] = ()
    costs: Any = None
    hit_factor: float = 1.0
    zones: tuple[Sequence[str], Sequence[str]] | None = None

    @cached_property
    def measured(self) -> Any:
        """The numbers of the requests of the measured window that were sent."""
        return np.flatnonzero(self.calls.measured & (self.outcome.sent_ns >= 0))

    def of(self, column: str) -> Any:
        """Return a column of the outcome, of the measured requests."""
        return getattr(self.outcome, column)[self.measured]

    @cached_property
    def ok(self) -> Any:
        """Whether each measured request ended with OK."""
        return self.of("code") == OK

    @cached_property
    def replica_requests(self) -> list[int]:
        """Answered requests of each replica."""
        answered = self.of("replica")
        return [int(n) for n in np.bincount(answered[answered >= 0], minlength=self.replicas)]

    @cached_property
    def offered_per_s(self) -> list[float]:
        """Requests of the measured window that each replica had to serve, per second.

        They count wherever they waited: in the replica, or in a client whose connection was full. A request
        that was given up counts where it had arrived. One of a dear client counts for several, and one that
        hits the session cache for less.
        """
        attempts, costs = self.outcome.attempts, self.costs
        costs = np.ones(len(self.calls)) if costs is None else costs
        mine = self.calls.measured[attempts.call]
        own = costs[attempts.call[mine]] * self._cost_by_cache(attempts.cache[mine])
        arrived = np.bincount(attempts.replica[mine], own, minlength=self.replicas)
        replica, own = self.of("replica"), costs[self.measured] * self._cost_by_cache(self.of("cache"))
        answered = np.bincount(replica[replica >= 0], own[replica >= 0], minlength=self.replicas)
        most = np.maximum(arrived, answered) / self.window_s
        return [float(rate) for rate in most]

    def _cost_by_cache(self, cache: Any) -> Any:
        return np.where(cache == 1, self.hit_factor, 1.0)

    @cached_property
    def latency_ms(self) -> dict[str, float]:
        """Percentiles of the latency; a failed request counts as longer than any answer."""
        latency_ms = (self.of("answered_ns") - self.of("planned_ns")) / NS_PER_MS
        return _percentiles(np.where(self.ok, latency_ms, math.inf))

    @cached_property
    def ok_latency_ms(self) -> dict[str, float]:
        """Percentiles of the latency of the requests that ended with OK."""
        latency_ms = (self.of("answered_ns") - self.of("planned_ns")) / NS_PER_MS
        return _percentiles(latency_ms[self.ok])

    @cached_property
    def rate(self) -> RateEffects | None:
        """What the rate did; None where it does not change."""
        latency_ns = self.of("answered_ns") - self.of("planned_ns")
        at_ns = self.calls.planned_ns[self.measured]
        return rate_effects_of(at_ns, latency_ns, self.ok, self.planned_per_s, self.window_s)

    @cached_property
    def queue_ms(self) -> dict[str, float]:
        """Percentiles of the wait of each attempt of the measured requests."""
        attempts = self.outcome.attempts
        mine = self.calls.measured[attempts.call]
        return _percentiles(attempts.queue_ns[mine] / NS_PER_MS)

    @cached_property
    def session_requests(self) -> Any:
        """Answered requests, (sessions, replicas)."""
        answered, session = self.of("replica"), self.calls.session[self.measured]
        found = answered >= 0
        sessions = int(self.calls.session.max(initial=0)) + 1
        place = session[found] * self.replicas + answered[found]
        return np.bincount(place, minlength=sessions * self.replicas).reshape(sessions, self.replicas)


def _percentiles(values: Any) -> dict[str, float]:
    """Return the percentiles that are reported, nearest rank: see analysis.statistics.percentiles."""
    count = len(values)
    if not count:
        return {}
    ordered = np.sort(values)
    index = {name: math.ceil(round(rank * count, 6)) - 1 for name, rank in RANKS.items()}
    return reported({name: float(ordered[place]) for name, place in index.items()}, count)


def _purity(cell: PredictedCell) -> Number:
    requests = cell.session_requests
    return float(requests.max(axis=1).sum() / requests.sum()) if requests.sum() else None


def _good_answers(cell: PredictedCell) -> float:
    begin = cell.outcome.measure_start_ns
    answered = cell.of("answered_ns") - begin
    good = cell.ok & (answered >= 0) & (answered < cell.window_s * 1e9)
    return float(good.sum() / cell.window_s)


def _share_of(replica: int) -> Callable[[PredictedCell], Number]:
    def share(cell: PredictedCell) -> Number:
        total = sum(cell.replica_requests)
        return cell.replica_requests[replica] / total if total and replica < cell.replicas else None

    return share


def _code_share(code: int) -> Callable[[PredictedCell], Number]:
    return lambda cell: float((cell.of("code") == code).mean()) if len(cell.measured) else None


def _hit_share(cell: PredictedCell) -> Number:
    seen = cell.of("cache")
    lookups = int((seen >= 0).sum())
    return float((seen == 1).sum() / lookups) if lookups else None


def _percentile(name: str, rank: str) -> Callable[[PredictedCell], Number]:
    return lambda cell: getattr(cell, name).get(rank)


def _attempts_per_request(cell: PredictedCell) -> Number:
    sent = int((cell.outcome.sent_ns >= 0).sum())
    return len(cell.outcome.attempts.call) / sent if sent else None


def _crossed_share(cell: PredictedCell) -> Number:
    if cell.zones is None:
        return None
    of_nodes, of_replicas = map(np.array, cell.zones)
    replica = cell.of("replica")
    found = replica >= 0
    crossed = of_nodes[cell.of("node")[found]] != of_replicas[replica[found]]
    return float(crossed.mean()) if len(crossed) else None


def _recovery_ms(cell: PredictedCell) -> Number:
    found = None if cell.rate is None else cell.rate.recovery_s
    return None if found is None else 1000 * found


PREDICTED: Mapping[str, Callable[[PredictedCell], Number]] = {
    "error_share": lambda cell: float(1 - cell.ok.mean()) if len(cell.measured) else None,
    **{f"errors.{code}": _code_share(CODES[code]) for code in COUNTED_CODES},
    "goodput_per_s": _good_answers,
    "spread.max_over_mean": lambda cell: max_over_mean(cell.replica_requests),
    "spread.cv": lambda cell: cv(cell.replica_requests),
    "spread.jain": lambda cell: jain(cell.replica_requests),
    "spread.effective_replicas": lambda cell: effective_replicas(cell.replica_requests),
    "spread.used_replicas": lambda cell: sum(1 for requests in cell.replica_requests if requests),
    **{f"share.replica-{number}": _share_of(number) for number in range(NAMED_REPLICAS)},
    "balance.max_off_fair_requests": lambda cell: max_off_fair(cell.replica_requests),
    "attempts.per_request": _attempts_per_request,
    "zones.crossed_share": _crossed_share,
    "affinity.purity": _purity,
    "cache.hit_share": _hit_share,
    "recovery_ms": _recovery_ms,
    "knee_per_s": lambda cell: None if cell.rate is None else cell.rate.knee_per_s,
    **{
        f"{name}.{rank}": _percentile(name, rank)
        for name in ("latency_ms", "ok_latency_ms")
        for rank in ("p50", "p90", "p95", "p99")
    },
    **{f"queue_ms.{rank}": _percentile("queue_ms", rank) for rank in ("p50", "p90", "p99")},
}
LATENCIES = tuple(name for name in PREDICTED if "latency_ms" in name)  # what fixed costs make longer


def predicted_metrics(cell: PredictedCell) -> dict[str, float]:
    """Return the metrics that the cell has; those without a value are left out."""
    values = {name: compute(cell) for name, compute in PREDICTED.items()}
    return {name: float(value) for name, value in values.items() if value is not None}
