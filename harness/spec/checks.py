"""What only shows in the whole experiment: arms that cannot be, expectations about nothing, sheer size."""

from __future__ import annotations

from collections.abc import Iterator

from harness.fields import proxy_names
from harness.spec.arm import Arm, Variant, variants_of_arm
from harness.spec.arm_checks import arm_problems
from harness.spec.event_checks import Timeline, event_problems
from harness.spec.expectation_checks import expectation_problems, search_problems
from harness.spec.locust_workload import locust_problems
from harness.spec.model import ExperimentModel
from harness.spec.problems import Problem
from harness.spec.rate import RateShape, mean_per_s
from harness.spec.yaml_file import Where, dotted
from services.service_time import dear_clients, mean_ms_of_method

PLANNED_REQUESTS_LIMIT = 20_000_000  # what one machine can record and sum up in minutes

MIN_CYCLE_MS = 0.1  # from one request of a client to its next: no answer comes sooner

MAX_ARMS = 32  # as they are run, with those that sweeps stand for


def problems_of(experiment: ExperimentModel) -> Iterator[Problem]:
    """Everything that is wrong in the whole, in the order of the file."""
    yield from _loop_problems(experiment)
    yield from _trace_problems(experiment)
    yield from locust_problems(experiment)
    yield from _rate_problems(experiment)
    yield from _repeat_problems(experiment)
    yield from _replica_problems(experiment)
    yield from _service_time_problems(experiment)
    for name, arm in experiment.arms.items():
        yield from arm_problems(experiment, name, arm)
        yield from event_problems(_timeline(experiment, name, arm))
    # From here on every arm is known to be one that can be run.
    yield from _name_problems(experiment)
    yield from _size_problems(experiment)
    yield from search_problems(experiment)
    for index, expectation in enumerate(experiment.expect):
        yield from expectation_problems(index, expectation, experiment)


def _timeline(experiment: ExperimentModel, name: str, arm: Arm) -> Timeline:
    return Timeline(
        events=experiment.events_of(arm),
        where=("events",) if arm.events is None else ("arms", name, "events"),
        replicas=experiment.replicas.names,
        ends_s=experiment.workload_of(arm).duration_s,
        route=arm.route,
        nodes=proxy_names(arm.proxies) if arm.has_proxy else [],
    )


def planned_requests(experiment: ExperimentModel) -> float:
    """Requests of all cells, warm-up included. Closed loop: at most, as if the replicas never queued.

    A search: as if it made all of its cells at the rate of the workload.
    """
    cells = sum(_planned_requests_of_cell(experiment, variant) for variant in experiment.variants.values())
    searched = 1 if experiment.search is None else experiment.search.max_cells
    return cells * experiment.repeats.max * searched


def _planned_requests_of_cell(experiment: ExperimentModel, variant: Variant) -> float:
    workload = experiment.workload_of(variant.arm)
    mean, first = workload.mean_rate_per_s, workload.first_rate_per_s
    if mean is None or first is None:
        think_ms = workload.think_time_ms or 0.0
        time_ms = experiment.replicas.service_time_ms
        cycle_ms = think_ms + min(mean_ms_of_method(time_ms, name) for name in workload.calls)
        mean = first = workload.clients * 1000 / max(cycle_ms, MIN_CYCLE_MS)
    return first * workload.warm_up_s + mean * workload.duration_s


def _loop_problems(experiment: ExperimentModel) -> Iterator[Problem]:
    rate, think = ("workload", "rate_per_s"), ("workload", "think_time_ms")
    workload = experiment.workload
    if (workload.rate_per_s is None) == (workload.think_time_ms is None):
        given = "neither" if workload.rate_per_s is None else "both"
        yield Problem(
            (rate, think),
            f"workload: {given} of rate_per_s (open loop) and think_time_ms (closed loop) given; "
            "expected exactly one",
        )


def _trace_problems(experiment: ExperimentModel) -> Iterator[Problem]:
    if experiment.workload.trace is None:
        return
    if experiment.workload.trace.service_times == "recorded" and "GetVideo" in experiment.workload.calls:
        path = ("workload", "trace", "service_times")
        told = "GetVideo takes a service time for each message, and the trace has one a request; leave it out"
        yield Problem((path,), f"{dotted(path)}: {told}")
    for name, arm in experiment.arms.items():
        for variant in variants_of_arm(name, arm):
            for key in ("clients", "rate_per_s", "skew"):
                if getattr(variant.arm, key) is not None:
                    path = ("arms", name, key)
                    told = f"{dotted(path)}: the workload plays a trace, which gives it; leave it out"
                    yield Problem((path,), told)


def _rate_problems(experiment: ExperimentModel) -> Iterator[Problem]:
    """Yield the problems of rates that change: too late, or to nothing; and of bursts without a rate."""
    work = experiment.workload
    if work.bursts is not None and (work.rate_per_s is None or work.trace is not None):
        path: Where = ("workload", "bursts")
        why = "a closed loop" if work.trace is None else "a trace"
        yield Problem((path,), f"{dotted(path)}: {why} has no rate that could change; leave it out")
    rates: list[tuple[Where, float | RateShape | None]] = [(("workload",), work.rate_per_s)]
    rates += [(("arms", name), arm.rate_per_s) for name, arm in experiment.arms.items()]
    for where, rate in rates:
        if rate is None or isinstance(rate, int | float):
            continue
        path = (*where, "rate_per_s")
        if rate.last_s > work.duration_s:
            yield Problem(
                (path, ("workload", "duration_s")),
                f"{dotted(path)}: changes at {rate.last_s:g} s, after the end of the measured window "
                f"({work.duration_s:g} s); expected changes within it",
            )
        elif not mean_per_s(rate, work.duration_s):
            yield Problem((path,), f"{dotted(path)}: no requests at all; expected a rate above 0")


def _repeat_problems(experiment: ExperimentModel) -> Iterator[Problem]:
    repeats = experiment.repeats
    if repeats.min > repeats.max:
        path = ("repeats",)
        yield Problem((path,), f"repeats: min {repeats.min} is above max {repeats.max}; expected at most max")


def _replica_problems(experiment: ExperimentModel) -> Iterator[Problem]:
    if experiment.workload.payload_bytes and "AddVideo" not in experiment.workload.calls:
        payload = ("workload", "payload_bytes")
        told = "changes nothing without AddVideo among the calls; leave it out"
        yield Problem((payload,), f"{dotted(payload)}: {told}")
    names = experiment.replicas.names
    for name in experiment.replicas.different:
        if name not in names:
            path = ("replicas", "different", name)
            yield Problem(
                (path,), f"{dotted(path)}: there is no such replica; expected {names[0]} to {names[-1]}"
            )


def _service_time_problems(experiment: ExperimentModel) -> Iterator[Problem]:
    """Yield settings of the service time that no call of the workload would meet."""
    time_ms, place = experiment.replicas.service_time_ms, ("replicas", "service_time_ms")
    calls = experiment.workload.calls
    for name in time_ms.methods:
        if name not in calls:
            path = (*place, "methods", name)
            told = (
                f"{dotted(path)}: the workload has no such calls; expected one of {', '.join(sorted(calls))}"
            )
            yield Problem((path,), told)
    if time_ms.dear is None or time_ms.dear.by != "client":
        return
    for clients in sorted({experiment.workload_of(one.arm).clients for one in experiment.variants.values()}):
        if not dear_clients(time_ms.dear, clients):
            where = (*place, "dear", "share")
            told = (
                f"{dotted(where)}: {time_ms.dear.share:g} makes none of {clients} clients dear; expected at "
                f"least {1 / clients:.3g}, or more clients"
            )
            yield Problem((where,), told)


def _name_problems(experiment: ExperimentModel) -> Iterator[Problem]:
    names = [variant.name for name, arm in experiment.arms.items() for variant in variants_of_arm(name, arm)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        yield Problem((("arms",),), f"arms: two arms would be called '{twice}' when run; rename one")
    if len(names) > MAX_ARMS:
        told = f"arms: {len(names)} arms to run, each swept value counted; expected at most {MAX_ARMS}"
        yield Problem((("arms",),), told)


def _size_problems(experiment: ExperimentModel) -> Iterator[Problem]:
    planned = planned_requests(experiment)
    if planned > PLANNED_REQUESTS_LIMIT:
        causes = (
            ("workload", "rate_per_s"),
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
