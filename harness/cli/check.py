"""The plan of an experiment in words and figures, as `check` prints it."""

from collections.abc import Sequence
from typing import Any

from harness.events.schedule import planned_events
from harness.plan.cells import load_of, plan_cells
from harness.spec.arm import OWN_WORKLOAD
from harness.spec.checks import planned_requests
from harness.spec.expectation_checks import BOUNDS
from harness.spec.experiment import Arm, Event, Experiment, Workload
from harness.spec.model import Replicas
from harness.testbed.choice import incompatibility
from lb.plan import client_rate_per_s

Lines = list[tuple[str, str]]


def plan_text(experiment: Experiment) -> str:
    """Return the plan as lines of text: cells in order, requests, time, rates, utilisation.

    A closed loop has no planned rate. Its number of requests is a maximum: the number without any queueing.
    """
    sections = [
        [(experiment.name, experiment.title), ("question", experiment.question)],
        _cells(experiment),
        _requests(experiment),
        _workloads(experiment),
        _replica_settings(experiment.replicas),
        _events(experiment),
        _expectations(experiment),
    ]
    return "\n".join(f"{label:<12} {line}".rstrip() for section in sections for label, line in section)


def _cells(experiment: Experiment) -> Lines:
    plans = plan_cells(experiment)
    arms = len(experiment.variants)
    repeats = experiment.repeats
    least = arms * repeats.min
    count = f"{least} ({arms} arms x {repeats.min} repeats), in this order"
    if repeats.max > repeats.min:
        count += f"; up to {repeats.max} repeats while an expectation is not decided"
    width = max(map(len, experiment.variants))
    lines = [
        f"{plan.order + 1:3}  {plan.arm_name:<{width}}  repeat {plan.repeat}  {_arm(plan.arm)}"
        for plan in plans[:least]
    ]
    problem = incompatibility(experiment, "local")
    return [*([("testbed", problem)] if problem else []), ("cells", count), *(("", line) for line in lines)]


def _arm(arm: Arm) -> str:
    """Return route, policy and every key of the arm that is not a default."""
    extras = arm.model_dump(exclude={"route", "policy", "sweep", "events"}, exclude_defaults=True)
    options = extras.pop("options", {})
    settings = [f"{key} {_value(value)}" for key, value in (options | extras).items()]
    return ", ".join([f"{arm.route}: {arm.policy}", *settings])


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_value(entry)}" for key, entry in value.items()) + "}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _requests(experiment: Experiment) -> Lines:
    work = experiment.workload
    repeats = experiment.repeats
    least = len(experiment.variants) * repeats.min
    total = planned_requests(experiment) / repeats.max * repeats.min
    seconds = work.warm_up_s + work.duration_s
    measured = total / least * work.duration_s / seconds
    more = f"; up to {repeats.max / repeats.min:g} times that" if repeats.max > repeats.min else ""
    about = "at most " if work.rate_per_s is None else "about "
    return [
        ("requests", f"{about}{measured:,.0f} measured in a cell, {total:,.0f} in all with warm-up"),
        ("time", f"{seconds * least:g} s of load ({work.warm_up_s:g} + {work.duration_s:g} s a cell){more}"),
    ]


def _workloads(experiment: Experiment) -> Lines:
    """Return the workload and its load on the replicas, also for each arm with a workload of its own."""
    lines = _workload(experiment, experiment.workload)
    for name, variant in experiment.variants.items():
        if any(getattr(variant.arm, field) is not None for field in OWN_WORKLOAD):
            own = _workload(experiment, experiment.workload_of(variant.arm))
            lines += [("", f"{name}:"), *(("", f"  {label}: {line}") for label, line in own)]
    return lines


def _workload(experiment: Experiment, work: Workload) -> Lines:
    replicas = experiment.replicas
    return [*_clients(experiment, work), *_capacity(experiment, replicas, work)]


def _clients(experiment: Experiment, work: Workload) -> Lines:
    mix = ", ".join(f"{name} {weight / sum(work.calls.values()):.0%}" for name, weight in work.calls.items())
    if work.rate_per_s is None:
        rates = f"closed loop, {work.think_time_ms:g} ms of think time after each answer"
    else:
        load = load_of(work, experiment.seed, 1)
        first, last = client_rate_per_s(load, 0), client_rate_per_s(load, work.clients - 1)
        each = f"{first:.4g}/s each" if work.skew == 0 else f"{first:.4g}/s (client 0) to {last:.4g}/s"
        rates = f"{work.rate_per_s:g}/s together, open loop, {each}, skew {work.skew:g}"
    return [("clients", f"{work.clients}: {rates}"), ("calls", mix)]


def _capacity(experiment: Experiment, replicas: Replicas, work: Workload) -> Lines:
    time_ms = replicas.service_time_ms
    if time_ms.mean == 0:
        return [("replicas", f"{replicas.count} x {replicas.slots} slots, no service time")]
    capacity_per_s = replicas.slots * 1000 / (time_ms.mean * _service_times_per_call(work))
    line = (
        f"{replicas.count} x {replicas.slots} slots, service time {time_ms.mean:g} ms "
        f"({time_ms.distribution}): {capacity_per_s:,.4g} calls/s each, "
        f"{capacity_per_s * replicas.count:,.4g}/s in all"
    )
    if work.rate_per_s is None:
        return [("replicas", line)]
    all_on_one = work.rate_per_s / capacity_per_s
    busiest = client_rate_per_s(load_of(work, experiment.seed, 1), 0) / capacity_per_s
    utilisation = (
        f"{all_on_one / replicas.count:.0%} of each replica when spread evenly; {busiest:.0%} of one by the "
        f"busiest client alone; {all_on_one:.0%} of one if all go there"
    )
    return [("replicas", line), ("utilisation", utilisation)]


def _replica_settings(replicas: Replicas) -> Lines:
    """Return the settings of all replicas that are not defaults, and the overrides of single replicas."""
    common = replicas.model_dump(
        include={"slow_factor", "slow_share", "fail_share", "fail_code", "outage", "cache", "orca"},
        exclude_defaults=True,
    )
    lines = [("", f"all: {_value(common)[1:-1]}")] if common else []
    for name, overrides in replicas.different.items():
        lines.append(("", f"{name}: {_value(overrides.model_dump(exclude_none=True))[1:-1]}"))
    return lines


def _events(experiment: Experiment) -> Lines:
    """Return the events of a cell, and those of each arm that has events of its own."""
    lines = [("", line) for line in _timeline(experiment.events)] if experiment.events else []
    for name, variant in experiment.variants.items():
        if variant.arm.events is not None:
            own = _timeline(variant.arm.events)
            lines += [("", f"{name}: {'; '.join(own) or 'nothing'}")]
    return [("events", lines[0][1]), *lines[1:]] if lines else []


def _timeline(events: Sequence[Event]) -> list[str]:
    lines = []
    for planned in planned_events(events):
        extras = planned.event.model_dump(exclude={"at_s", "do", "target", "for_s"}, exclude_defaults=True)
        target = "" if planned.event.target is None else f" {_value(planned.event.target)}"
        what = [f"{planned.event.do}{target}", *(f"{key} {_value(value)}" for key, value in extras.items())]
        ends = "" if planned.undoes is None else f" (ends {planned.undoes})"
        lines.append(f"{planned.number}. at {planned.at_s:g} s: {', '.join(what)}{ends}")
    return lines


def _service_times_per_call(work: Workload) -> float:
    """Return the mean number of service times in a call: GetVideo takes one for every message."""
    total = sum(work.calls.values())
    return sum(
        weight / total * (work.messages_per_stream if name == "GetVideo" else 1)
        for name, weight in work.calls.items()
    )


def _expectations(experiment: Experiment) -> Lines:
    lines = []
    for expectation in experiment.expect:
        key, bound = next((key, value) for key in BOUNDS if (value := getattr(expectation, key)) is not None)
        words = key.replace("_times", "").replace("_", " ")
        bound_text = f"{bound:g}" if expectation.of is None else f"{bound:g} times that of {expectation.of}"
        lines.append(("", f"{expectation.arm}: {expectation.metric} {words} {bound_text}"))
    return [("expect", lines[0][1]), *lines[1:]] if lines else [("expect", "nothing")]
