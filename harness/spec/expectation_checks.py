"""What is wrong with an expectation: unknown names, a missing bound, or a bound that says nothing here."""

from __future__ import annotations

from collections.abc import Iterator

from harness.errors import did_you_mean
from harness.events.schedule import new_replicas, planned_events
from harness.metrics.ranges import Planned, range_of, range_of_times, why_undefined, why_vacuous
from harness.metrics.registry import CAPACITY, METRICS
from harness.policies.policy import Traits
from harness.policies.registry import traits_of
from harness.spec.arm import Arm, Variant
from harness.spec.arm_checks import STREAMS
from harness.spec.model import Expectation, ExperimentModel
from harness.spec.problems import Problem, shown
from harness.spec.search import Search
from harness.spec.yaml_file import dotted

BOUNDS = ["at_most", "at_least", "at_most_times", "at_least_times"]
MAX_CHOICES = 12  # told in one line


def expectation_problems(
    index: int, expectation: Expectation, experiment: ExperimentModel
) -> Iterator[Problem]:
    """Yield the problems of the expectation with this index in the file, the most basic first."""
    where, arms = ("expect", index), experiment.variants
    unknown = [*_unknown_names(where, expectation, list(arms)), *_bound_problems(where, expectation)]
    yield from unknown
    if not unknown and experiment.search is not None and expectation.metric != CAPACITY:
        path = (*where, "metric")
        told = f"{shown(expectation.metric)}: nobody knows the cells of a search before; expected {CAPACITY}"
        yield Problem((path,), f"{dotted(path)}: {told}")
    elif not unknown:
        yield from _empty_claims(where, expectation, experiment)


def search_problems(experiment: ExperimentModel) -> Iterator[Problem]:
    """Yield what is wrong with `search`: no rate to vary, an arm with a rate of its own, a bad condition."""
    if experiment.search is None:
        return
    work, factor = experiment.workload, ("search", "factor")
    if work.trace is not None:
        yield Problem((factor,), f"{dotted(factor)}: the workload plays a trace, which gives its rate")
    elif work.changes:
        told = "the rate changes while it is measured, and a search takes a steady one; expected a number"
        yield Problem((("workload", "rate_per_s"), factor), f"{dotted(factor)}: {told}")
    elif work.rate_per_s is None:
        told = "a closed loop has no rate to vary; expected workload.rate_per_s, where the search may begin"
        yield Problem((factor,), f"{dotted(factor)}: {told}")
    for name, arm in experiment.arms.items():
        own = {"rate_per_s": "the search varies it", "sweep": "an arm that is searched sweeps nothing"}
        for key, why in own.items():
            if getattr(arm, key) is not None:
                path = ("arms", name, key)
                yield Problem((path,), f"{dotted(path)}: {why}; leave it out")
    yield from _condition_problems(("search", "while"), experiment.search, experiment)


def _condition_problems(
    where: tuple[str | int, ...], search: Search, experiment: ExperimentModel
) -> Iterator[Problem]:
    """Yield why the condition of a search says nothing, the most basic first."""
    condition = search.condition
    if condition.metric not in METRICS or condition.metric == CAPACITY:
        known = [metric for metric in METRICS if metric != CAPACITY]
        yield _unknown((*where, "metric"), condition.metric, "metric of a cell", known)
        return
    given = [key for key in BOUNDS[:2] if getattr(condition, key) is not None]
    if len(given) != 1:
        told = " and ".join(given) or "no bound"
        yield Problem(
            (where,), f"{dotted(where)}: {told} given; expected exactly one of {', '.join(BOUNDS[:2])}"
        )
        return
    for name, variant in experiment.variants.items():
        plan = planned_of(experiment, variant)
        reason = why_undefined(condition.metric, plan)
        if reason is not None:
            reason = f"{shown(condition.metric)} has no value in arm '{name}': {reason}"
        else:
            reason = why_vacuous(*condition.bound, range_of(condition.metric, plan))
        if reason is not None:
            yield Problem((where,), f"{dotted(where)}: {reason}")


def planned_of(experiment: ExperimentModel, variant: Variant) -> Planned:
    """Return what the plan of an arm says that limits its metrics."""
    arm = variant.arm
    work = experiment.workload_of(arm)
    traits = traits_of(arm.route, arm.policy, arm.options)
    events = planned_events(experiment.events_of(arm))
    return Planned(
        replicas=experiment.replicas.count + new_replicas(events),
        placements=None if events else _placements(arm, traits, work.clients),
        deadline_ms=work.deadline_ms,
        # Only a session's first answer is waited for otherwise: that is few calls, unless sessions are short.
        sent_on_time=not arm.await_each_answer and arm.session_lifetime_s is None,
        events=len(events),
        proxied=arm.has_proxy,
        streams=bool(STREAMS & set(work.calls)),
        cache=experiment.replicas.cache is not None,
        target_groups=bool(traits.groups),
        zones=bool(arm.zones) and arm.route == "envoy",
        searched=experiment.search is not None,
        rate_changes=work.changes,
    )


def _placements(arm: Arm, traits: Traits, clients: int) -> int | None:
    """Return how many connections or sessions are placed as a whole; None where requests are not, or move."""
    may_move = (arm.retries, arm.outlier_detection, arm.session_lifetime_s)
    may_break = (arm.max_connection_age_s, arm.idle_timeout_s)
    if any(key is not None for key in (*may_move, *may_break)):
        return None
    if arm.route == "envoy-l4" or (arm.route == "direct" and arm.policy == "pick_first"):
        if arm.connections == "shared":
            return 1
        return clients * (arm.connections if isinstance(arm.connections, int) else 1)
    sticky = (traits.sets_cookie or traits.echo_header is not None) and arm.cookie_jar
    return clients if sticky and arm.await_first_answer else None


def _unknown_names(
    where: tuple[str | int, ...], expectation: Expectation, arms: list[str]
) -> Iterator[Problem]:
    for key, name in (("arm", expectation.arm), ("of", expectation.of)):
        if name is not None and name not in arms:
            yield _unknown((*where, key), name, "arm", arms)
    if expectation.metric not in METRICS:
        yield _unknown((*where, "metric"), expectation.metric, "metric", list(METRICS))


def _bound_problems(where: tuple[str | int, ...], expectation: Expectation) -> Iterator[Problem]:
    bounds = [key for key in BOUNDS if getattr(expectation, key) is not None]
    if len(bounds) != 1:
        told = " and ".join(bounds) if bounds else "no bound"
        yield Problem((where,), f"{dotted(where)}: {told} given; expected exactly one of {', '.join(BOUNDS)}")
    elif bounds[0].endswith("_times") and expectation.of is None:
        yield Problem(
            (where,), f"{dotted(where)}: {bounds[0]} without 'of'; expected of: the arm to compare with"
        )
    elif not bounds[0].endswith("_times") and expectation.of is not None:
        yield Problem(
            ((*where, "of"),),
            f"{dotted(where)}: 'of' with {bounds[0]}; expected at_most_times or at_least_times",
        )
    elif expectation.of == expectation.arm:
        yield Problem(((*where, "of"),), f"{dotted(where)}: compares arm '{expectation.arm}' with itself")


def _empty_claims(
    where: tuple[str | int, ...], expectation: Expectation, experiment: ExperimentModel
) -> Iterator[Problem]:
    """Yield why the metric has no value in an arm, or why its value always or never meets the bound."""
    metric, arms = expectation.metric, experiment.variants
    named = [name for name in (expectation.arm, expectation.of) if name is not None]
    plans = [planned_of(experiment, arms[name]) for name in named]
    for name, plan in zip(named, plans, strict=True):
        if reason := why_undefined(metric, plan):
            path = (*where, "metric")
            yield Problem((path,), f"{dotted(path)}: {shown(metric)} has no value in arm '{name}': {reason}")
            return
    possible = [range_of(metric, plan) for plan in plans]
    bound, is_least = expectation.bound
    if reason := why_vacuous(bound, is_least, possible[0] if len(plans) == 1 else range_of_times(*possible)):
        yield Problem((where,), f"{dotted(where)}: {expectation.in_words()}: {reason}")


def _unknown(path: tuple[str | int, ...], name: str, what: str, known: list[str]) -> Problem:
    few = len(known) <= MAX_CHOICES
    hint = did_you_mean(name, known) or (f"; expected {_choice(known)}" if few else "; see results/README.md")
    return Problem((path,), f"{dotted(path)}: unknown {what} {shown(name)}{hint}")


def _choice(names: list[str]) -> str:
    return " or ".join(f"'{name}'" for name in names)
