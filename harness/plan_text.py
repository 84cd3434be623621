"""What an experiment plans, in words and figures, before anything is started."""

from harness.cells import load_of, plan_cells
from harness.spec import Arm, Experiment
from harness.spec_checks import BOUNDS, planned_requests
from lb.plan import client_rate_per_s

Lines = list[tuple[str, str]]


def plan_text(experiment: Experiment) -> str:
    """The plan as lines of text: cells in order, requests, time, rates, utilisation.

    Closed loops have no planned rate; what is told of them is at most, as if nothing ever queued.
    """
    parts = [
        _heading(experiment),
        _cells(experiment),
        _requests(experiment),
        _clients(experiment),
        _replicas(experiment),
        _expectations(experiment),
    ]
    return "\n".join(f"{label:<12} {line}".rstrip() for part in parts for label, line in part)


def _heading(experiment: Experiment) -> Lines:
    return [(experiment.name, experiment.title), ("question", experiment.question)]


def _cells(experiment: Experiment) -> Lines:
    plans = plan_cells(experiment)
    count = f"{len(plans)} ({len(experiment.arms)} arms x {experiment.repeats} repeats), in this order"
    width = max(map(len, experiment.arms))
    lines = [
        f"{plan.order + 1:3}  {plan.arm_name:<{width}}  repeat {plan.repeat}  {_arm(plan.arm)}"
        for plan in plans
    ]
    return [("cells", count), *(("", line) for line in lines)]


def _arm(arm: Arm) -> str:
    extras = [key for key in ("cookie_jar", "await_first_answer") if not getattr(arm, key)]
    return ", ".join([f"{arm.route}: {arm.policy}", *(f"{key} false" for key in extras)])


def _requests(experiment: Experiment) -> Lines:
    work = experiment.workload
    cells = len(experiment.arms) * experiment.repeats
    total = planned_requests(experiment)
    seconds = work.warm_up_s + work.duration_s
    measured = total / cells * work.duration_s / seconds
    about = "at most " if work.rate_per_s is None else "about "
    return [
        ("requests", f"{about}{measured:,.0f} measured in a cell, {total:,.0f} in all with warm-up"),
        ("time", f"{seconds * cells:g} s of load ({work.warm_up_s:g} + {work.duration_s:g} s a cell)"),
    ]


def _clients(experiment: Experiment) -> Lines:
    work = experiment.workload
    mix = ", ".join(f"{name} {weight / sum(work.calls.values()):.0%}" for name, weight in work.calls.items())
    if work.rate_per_s is None:
        rates = f"closed loop, {work.think_time_ms:g} ms of thinking after each answer"
    else:
        load = load_of(experiment, 1)
        first, last = client_rate_per_s(load, 0), client_rate_per_s(load, work.clients - 1)
        each = f"{first:.4g}/s each" if work.skew == 0 else f"{first:.4g}/s (client 0) to {last:.4g}/s"
        rates = f"{work.rate_per_s:g}/s together, open loop, {each}, skew {work.skew:g}"
    return [("clients", f"{work.clients}: {rates}"), ("calls", mix)]


def _replicas(experiment: Experiment) -> Lines:
    replicas, work = experiment.replicas, experiment.workload
    time_ms = replicas.service_time_ms
    capacity_per_s = replicas.slots * 1000 / (time_ms.mean * _service_times_per_call(experiment))
    line = (
        f"{replicas.count} x {replicas.slots} slots, service time {time_ms.mean:g} ms "
        f"({time_ms.distribution}): {capacity_per_s:,.4g} calls/s each, "
        f"{capacity_per_s * replicas.count:,.4g}/s in all"
    )
    if work.rate_per_s is None:
        return [("replicas", line)]
    all_on_one = work.rate_per_s / capacity_per_s
    busiest = client_rate_per_s(load_of(experiment, 1), 0) / capacity_per_s
    utilisation = (
        f"{all_on_one / replicas.count:.0%} of each replica when spread evenly; {busiest:.0%} of one by the "
        f"busiest client alone; {all_on_one:.0%} of one if all go there"
    )
    return [("replicas", line), ("utilisation", utilisation)]


def _service_times_per_call(experiment: Experiment) -> float:
    """Mean number of service times that a call takes: GetVideo works once for every message."""
    work = experiment.workload
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
