"""What only shows in the whole experiment: arms that cannot be, expectations about nothing, sheer size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.errors import did_you_mean
from harness.metrics import METRICS
from harness.proxy import ENVOY_POLICIES
from harness.spec_problems import Problem, dotted, shown
from lb.policies import POLICIES

if TYPE_CHECKING:
    from harness.spec import Arm, Expectation, Experiment

PLANNED_REQUESTS_LIMIT = 20_000_000  # what one machine can record and sum up in minutes

BOUNDS = ["at_most", "at_least", "at_most_times", "at_least_times"]

POLICIES_OF_ROUTE: dict[str, list[str]] = {"envoy": list(ENVOY_POLICIES), "direct": list(POLICIES)}


def problems_of(experiment: Experiment) -> Iterator[Problem]:
    """Everything that is wrong in the whole, in the order of the file."""
    yield from _workload_problems(experiment)
    for name, arm in experiment.arms.items():
        yield from _arm_problems(name, arm)
    for index, expectation in enumerate(experiment.expect):
        yield from _expectation_problems(index, expectation, list(experiment.arms))


def planned_requests(experiment: Experiment) -> float:
    """Requests of all cells, warm-up included. Closed loop: at most, as if the replicas never queued."""
    workload = experiment.workload
    cells = len(experiment.arms) * experiment.repeats
    rate_per_s = workload.rate_per_s
    if rate_per_s is None:
        think_ms = workload.think_time_ms or 0.0
        cycle_ms = think_ms + experiment.replicas.service_time_ms.mean
        rate_per_s = workload.clients * 1000 / cycle_ms
    return rate_per_s * (workload.warm_up_s + workload.duration_s) * cells


def _workload_problems(experiment: Experiment) -> Iterator[Problem]:
    rate, think = ("workload", "rate_per_s"), ("workload", "think_time_ms")
    workload = experiment.workload
    if (workload.rate_per_s is None) == (workload.think_time_ms is None):
        given = "neither" if workload.rate_per_s is None else "both"
        yield Problem(
            (rate, think),
            f"workload: {given} of rate_per_s (open loop) and think_time_ms (closed loop) given; "
            "expected exactly one",
        )
        return
    planned = planned_requests(experiment)
    if planned > PLANNED_REQUESTS_LIMIT:
        causes = (
            rate,
            ("workload", "clients"),
            ("workload", "duration_s"),
            ("workload", "warm_up_s"),
            ("repeats",),
        )
        yield Problem(
            causes,
            f"workload: {planned:.3g} requests planned in all (rate x seconds x arms x repeats); "
            f"expected at most {PLANNED_REQUESTS_LIMIT:.3g}",
        )


def _arm_problems(name: str, arm: Arm) -> Iterator[Problem]:
    known = POLICIES_OF_ROUTE[arm.route]
    path = ("arms", name, "policy")
    if arm.policy not in known:
        yield Problem(
            (path,),
            f"{dotted(path)}: route '{arm.route}' has no policy {shown(arm.policy)}; "
            f"expected {_choice(known)}{did_you_mean(arm.policy, known)}",
        )
    elif not arm.cookie_jar and not (arm.route == "envoy" and ENVOY_POLICIES[arm.policy].cookie):
        # Refused and not ignored: the report would name it as what differs between the arms.
        path = ("arms", name, "cookie_jar")
        yield Problem(
            (path,),
            f"{dotted(path)}: false changes nothing: route '{arm.route}' with policy '{arm.policy}' "
            "sets no cookie; leave it out",
        )


def _expectation_problems(index: int, expectation: Expectation, arms: list[str]) -> Iterator[Problem]:
    where = ("expect", index)
    for key, name in (("arm", expectation.arm), ("of", expectation.of)):
        if name is not None and name not in arms:
            yield _unknown((*where, key), name, "arm", arms)
    if expectation.metric not in METRICS:
        yield _unknown((*where, "metric"), expectation.metric, "metric", list(METRICS))
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


def _unknown(path: tuple[str | int, ...], name: str, what: str, known: list[str]) -> Problem:
    hint = did_you_mean(name, known) or f"; expected {_choice(known)}"
    return Problem((path,), f"{dotted(path)}: unknown {what} {shown(name)}{hint}")


def _choice(names: list[str]) -> str:
    return " or ".join(f"'{name}'" for name in names)
