"""The formula behind a lesson, with the numbers of the run in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness.analysis.moments import UNARY
from harness.metrics.metric import show
from harness.plan.capacity import alike_replicas, differs_by_client
from harness.record.summary import ArmSummary
from harness.site.prediction import in_words
from harness.site.run_facts import RunFacts


@dataclass(frozen=True)
class Line:
    """The formula for one arm: its name, the numbers put in, and what was measured beside it."""

    arm: str
    numbers: str
    measured: str


@dataclass(frozen=True)
class Formula:
    """A formula in symbols and in words, with a line for each arm. theory: the page that explains it."""

    symbols: str
    words: str
    lines: Sequence[Line]
    theory: str


def formula_of(facts: RunFacts) -> Formula | None:
    """Return the formula of the run's experiment; None where it has none that its numbers can be put into."""
    own = _OWN.get(facts.run.name, _utilisation)
    formula = own(facts)
    return formula if formula is not None and formula.lines else None


def _utilisation(facts: RunFacts) -> Formula | None:
    """How much of the busiest replica is used: offered load / capacity. Open loops of unary calls only."""
    experiment = facts.run.experiment
    if any(experiment.events_of(arm) for arm in experiment.arms.values()):
        return None  # the capacity changes while it is measured
    if differs_by_client(experiment.replicas.service_time_ms):
        return None  # a share of the requests is not the same share of the work
    lines = []
    for name, arm in facts.compared:
        work = experiment.workload_of(experiment.variants[name].arm)
        if work.mean_rate_per_s is None or work.changes:
            return None
        if set(work.calls) != {UNARY} or experiment.replicas.cache is not None:
            return None
        used = max(_used(facts, name, arm), default=None)
        if used is None:
            return None
        rho, share, capacity_per_s, replica = used
        numbers = (
            f"{work.mean_rate_per_s:g}/s × {share:.1%} / {capacity_per_s:.4g}/s = {rho:.0%} of {replica}"
            + (", so its queue grows" if rho > 1 else "")
        )
        lines.append(Line(in_words(name), numbers, _p99(arm)))
    return Formula(
        "ρ = λ × share / (slots / service time)",
        "Utilisation of the replica that is used most: the calls a second that it gets, over those that it "
        "can serve. Below 100 % the queue is finite. Above 100 % it grows for as long as the load lasts.",
        lines,
        "utilisation",
    )


def _used(facts: RunFacts, name: str, arm: ArmSummary) -> Iterator[tuple[float, float, float, str]]:
    """Yield utilisation, share, capacity and name of the replicas that may be the most used ones."""
    experiment = facts.run.experiment
    work = experiment.workload_of(experiment.variants[name].arm)
    groups = alike_replicas(experiment.replicas, work)
    rate_per_s = work.mean_rate_per_s or 0.0
    total = sum(arm.replicas.values())
    for group in groups:
        if group.capacity_per_s is None or not total:
            continue
        if len(groups) == 1:
            share, replica = arm.share_by_rank[0], "the busiest replica"
        else:
            replica = max(group.names, key=lambda one: arm.replicas.get(one, 0))
            share = arm.replicas.get(replica, 0) / total
        yield rate_per_s * share / group.capacity_per_s, share, group.capacity_per_s, replica


def _p99(arm: ArmSummary) -> str:
    value = arm.metrics["latency_ms.p99"]
    return "" if value is None else f"p99 {show(value)} ms"


def placement(facts: RunFacts) -> Formula:
    """How uneven equal sessions lie on replicas, by the rule of thumb, beside what was measured."""
    replicas = facts.run.experiment.replicas.count
    lines = []
    for name, arm in facts.summary.arms.items():
        measured = arm.metrics["spread.max_over_mean"]
        if arm.base != "equal" or not arm.value or measured is None:
            continue
        expected = 1 + math.sqrt(2 * replicas * math.log(replicas) / arm.value)
        numbers = f"1 + √(2 × {replicas} × ln {replicas} / {arm.value:g}) = {expected:.2f}"
        lines.append(Line(in_words(name), numbers, f"{measured:.2f}"))
    return Formula(
        "busiest / fair ≈ 1 + √(2 r ln r / n)",
        "n equal sessions, each on one of r replicas by chance. It is a rule of thumb for many sessions on "
        "each replica; with few sessions it says only that the result is uneven.",
        lines,
        "balls-into-bins",
    )


def amplification(facts: RunFacts) -> Formula:
    """The load that retries make, after the replicas have healed: above the capacity, it never ends."""
    experiment = facts.run.experiment
    groups = alike_replicas(experiment.replicas, experiment.workload)
    capacity_per_s = sum((group.capacity_per_s or 0) * len(group.names) for group in groups)
    rate_per_s = experiment.workload.mean_rate_per_s or 0.0
    lines = []
    for name, arm in facts.summary.arms.items():
        healed = arm.events[-1].metrics if arm.events else {}
        attempts, goodput = healed.get("attempts_per_request"), healed.get("goodput_per_s")
        if attempts is None or goodput is None:
            continue
        load = rate_per_s * attempts / capacity_per_s
        numbers = f"{rate_per_s:g}/s × {attempts:.2f} / {capacity_per_s:.4g}/s = {load:.0%}"
        lines.append(Line(in_words(name), numbers, f"goodput {show(round(goodput, 1))}/s"))
    return Formula(
        "load = rate × attempts per request / capacity",
        "After the replicas have healed. With three attempts each, the load stays above 100 %. Then the "
        "attempts fail, and so there are three of them: the state keeps itself up.",
        lines,
        "metastable-failure",
    )


def moved(facts: RunFacts) -> Formula:
    """How many sessions had to move when one of n replicas went, and how many moved."""
    count = facts.run.experiment.replicas.count
    lines = []
    for name, arm in facts.summary.arms.items():
        ratio = arm.events[0].metrics.get("moved_over_needed") if arm.events else None
        if ratio is not None:
            numbers = f"1 / {count} = {1 / count:.0%} of the keys × {ratio:.2f} = {ratio / count:.0%} moved"
            lines.append(Line(in_words(name), numbers, f"moved / needed {ratio:.2f}"))
    return Formula(
        "keys that must move = 1 / n",
        "When one of n replicas goes, only its own keys have to move. Modulo hashing would move (n − 1) / n.",
        lines,
        "consistent-hashing",
    )


_OWN: dict[str, Callable[[RunFacts], Formula | None]] = {
    "few_vs_many": placement,
    "retry_storm": amplification,
    "hash_remap": moved,
}
