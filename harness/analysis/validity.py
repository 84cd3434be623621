"""What can be believed of one cell: its metrics, why it may be wrong, and which metrics that spoils. Pure.

A cell is not good or bad as a whole. A wrong record spoils every metric. Another rate of sends than planned
spoils what depends on the load. Late sending spoils that, too; but it adds at most the lag to a duration, and
it does not change where answers came from. If something took the machine meanwhile, Envoy and the replicas
waited for a core, too, and that may add ten times the lag to a duration. Then a latency lies somewhere
between what was measured and what the planned work alone takes, and other durations are spoilt. A machine so
slow that calls end at their deadline does change where answers come from: a client whose first answer never
comes has no cookie to send. That spoils every metric.
harness.metrics.metric.Sort says which metrics are which.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.analysis.generator_share import own_part_ms
from harness.fields import DisturbanceCause
from harness.metrics.facts import CellFacts
from harness.metrics.metric import NS_PER_MS, Number, Sort, share
from harness.metrics.registry import METRICS

# Outside this range of achieved / planned sends, the replicas had another load than the experiment states.
# Nighthawk has the same rule. The share of sends that cross the window's edges is well below 5 %.
MIN_ACHIEVED_SHARE = 0.95
MAX_ACHIEVED_SHARE = 1.05
# With more lag the sends come in bursts that the plan does not have.
MAX_LAG_P99_MS = 50.0
# Of the calls of a generator that did not keep its plan. A machine that is too slow for the plan makes calls
# end at their deadline. Nothing tells them from the calls that the arm itself would have lost.
MAX_CUT_OFF_SHARE = 0.01

# Each takes the machine from Envoy and the replicas as well, not only from the generator.
TAKERS: Mapping[DisturbanceCause | None, str] = {
    "processes": "other processes",
    "hypervisor": "other virtual machines",
    "lab": "the lab's own processes",
}

Cause = Literal["record", "cut_off", "rate", "starved", "slowed", "lag"]
_ALL: frozenset[Sort] = frozenset({"counts", "times", "load"})
SPOILED_BY: Mapping[Cause, frozenset[Sort]] = {
    "record": _ALL,
    "cut_off": _ALL,
    "rate": frozenset({"times", "load"}),
    "starved": frozenset({"times", "load"}),
    "slowed": frozenset({"times", "load"}),
    "lag": frozenset({"load"}),
}
_USABLE = {
    "record": "not usable",
    "cut_off": "not usable",
    "rate": "usable for counts only",
    "starved": "usable for counts only",
    "slowed": "usable for counts, and for a latency if the planned work alone decides as well",
    "lag": "usable for counts only, and for durations less its lag",
}


@dataclass(frozen=True)
class InvalidReason:
    """Why metrics of a cell are not usable: a sentence, and what is wrong."""

    text: str
    cause: Cause = "record"

    @property
    def in_words(self) -> str:
        """Return what the cell can still be used for, and the reason."""
        return f"{_USABLE[self.cause]}, because {self.text}"


def is_unspoiled(reasons: Sequence[str], metric: str) -> bool:
    """Return whether a cell with these reasons, in words, still tells a metric as it was, lag and all.

    A duration with the generator's lag in it is as wrong as one of another rate.
    """
    records = f"{_USABLE['record']}, because"
    return not reasons or (
        METRICS[metric].sort == "counts" and not any(reason.startswith(records) for reason in reasons)
    )


@dataclass(frozen=True)
class CellResult:
    """The values of one cell's metrics by name, and what is wrong with the cell.

    lag_ms: rank -> the generator's lag. one_event: metric -> by how much a single event would have moved it.
    own_ms: metric -> how much of it the lab itself caused. least_ms: latency -> what the planned work alone
    takes, in a cell that was slowed. disturbed: as in CellFacts.
    """

    repeat: int
    values: Mapping[str, Number]
    invalid_reasons: tuple[InvalidReason, ...] = ()
    lag_ms: Mapping[str, float] = field(default_factory=dict)
    one_event: Mapping[str, float] = field(default_factory=dict)
    own_ms: Mapping[str, float] = field(default_factory=dict)
    disturbed: str | None = None
    least_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def record_is_wrong(self) -> bool:
        """Return whether no metric of the cell can be believed."""
        return any(reason.cause == "record" for reason in self.invalid_reasons)

    @property
    def was_slowed(self) -> bool:
        """Return whether something took the machine from all parts of the cell."""
        return any(reason.cause in ("starved", "slowed") for reason in self.invalid_reasons)

    def can_tell(self, metric: str) -> bool:
        """Return whether nothing that is wrong with the cell spoils this metric."""
        sort = METRICS[metric].sort
        reasons = [
            one for one in self.invalid_reasons if one.cause != "slowed" or metric not in self.least_ms
        ]
        return not any(sort in SPOILED_BY[reason.cause] for reason in reasons)

    def excess(self, metric: str) -> float:
        """Return how much of a duration (ms) may be the lab's or the machine's own; 0 for other metrics.

        Where the machine was taken from all parts, it is all that the planned work does not take. Otherwise
        only the generator was late. A FIFO queue whose arrivals are late by at most L finishes each of them
        late by at most L. So a latency that counts from the planned send is at most the lag too long, both at
        one rank. The generator's share of a latency has late receiving, too, and may be more. The larger of
        the two counts.
        """
        entry = METRICS[metric]
        if entry.sort != "times":
            return 0.0
        if (least_ms := self.least_ms.get(metric)) is not None:
            value_ms = self.values[metric]
            return 0.0 if value_ms is None else max(0.0, value_ms - least_ms)
        return max(self.lag_ms.get(entry.lag_rank, 0.0), self.own_ms.get(metric, 0.0))


def measure(facts: CellFacts) -> CellResult:
    """Compute every metric of one cell, and the reasons why some may not be usable."""
    steps = {
        name: step
        for name, metric in METRICS.items()
        if metric.one_event is not None and (step := metric.one_event(facts)) is not None
    }
    return CellResult(
        facts.repeat,
        {name: metric.compute(facts) for name, metric in METRICS.items()},
        tuple(_invalid_reasons(facts)),
        {rank: lag_ns / NS_PER_MS for rank, lag_ns in facts.lag_ns.items()},
        steps,
        {name: part_ms for name in METRICS if (part_ms := own_part_ms(facts, name)) is not None},
        facts.disturbed,
        _least_ms(facts),
    )


def _least_ms(facts: CellFacts) -> dict[str, float]:
    """Return latency -> its least value (ms), where that is known and finite."""
    least = facts.least_latency
    groups = {} if least is None else {"latency_ms": least.of_all_ns, "ok_latency_ms": least.of_ok_ns}
    found = {
        f"{group}.{rank}": value_ns / NS_PER_MS
        for group, values in groups.items()
        for rank, value_ns in values.items()
    }
    return {name: value for name, value in found.items() if name in METRICS and math.isfinite(value)}


def _invalid_reasons(facts: CellFacts) -> Iterator[InvalidReason]:
    if facts.status != "completed":
        yield InvalidReason(f"the cell is {facts.status}")
    if not facts.requests:
        yield InvalidReason("no request was recorded in the measured window")
    yield from map(InvalidReason, [*facts.lost_workers, *facts.interruptions])
    yield from map(InvalidReason, facts.contradictions)
    if (ledgers := facts.ledgers).reconciled is False:
        yield InvalidReason(
            f"the ledgers do not reconcile ({ledgers.only_client} requests only at the client, "
            f"{ledgers.only_envoy} only at Envoy, {ledgers.only_replica} only at a replica, "
            f"{ledgers.disagree} disagree)"
        )
    too_slow = [*_rate_reasons(facts), *_lag_reasons(facts)]
    cut_off = share(facts.errors.get("DEADLINE_EXCEEDED", 0), facts.requests)
    if too_slow and cut_off is not None and cut_off > MAX_CUT_OFF_SHARE:
        yield InvalidReason(
            f"{cut_off:.0%} of the calls ended at their deadline while the generator did not keep its plan",
            "cut_off",
        )
    yield from too_slow


def _rate_reasons(facts: CellFacts) -> Iterator[InvalidReason]:
    achieved, planned = facts.achieved_rate_per_s, facts.planned_rate_per_s
    if planned and facts.requests and not facts.awaits_answers:
        kept = achieved / planned
        if not MIN_ACHIEVED_SHARE <= kept <= MAX_ACHIEVED_SHARE:
            sent = f"{achieved:.4g} of {planned:.4g} planned requests/s ({kept:.0%})"
            yield InvalidReason(f"the generator sent {sent}", "rate")


def _lag_reasons(facts: CellFacts) -> Iterator[InvalidReason]:
    lag_ms = facts.lag_ns.get("p99", 0.0) / NS_PER_MS
    if lag_ms > MAX_LAG_P99_MS:
        limit = f"(at most {MAX_LAG_P99_MS:g} ms)"
        late = f"the generator lagged {lag_ms:.4g} ms behind its plan at p99 {limit}"
        if (taker := TAKERS.get(facts.disturbed_by)) is None:
            yield InvalidReason(late, "lag")
        else:
            cause: Cause = "starved" if facts.least_latency is None else "slowed"
            yield InvalidReason(f"{late} while {taker} took the machine", cause)
