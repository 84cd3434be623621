"""The plan of an experiment in words and figures, as `check` prints it."""

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.events.schedule import planned_events
from harness.metrics.metric import MIN_VALUES, percentile_of
from harness.plan.capacity import AlikeReplicas, Utilisation, alike_replicas, mean_ms_of_call, utilisation_of
from harness.plan.cells import cells_at_least, cells_at_most, load_of, plan_cells
from harness.plan.search import LEAST_CELLS
from harness.spec.arm import OWN_WORKLOAD
from harness.spec.checks import planned_requests
from harness.spec.expectation_checks import BOUNDS
from harness.spec.experiment import Arm, Event, Experiment, Workload
from harness.spec.locust_workload import CLOSED_LOOP_NOTE
from harness.spec.model import Expectation, Replicas, TraceSource
from harness.spec.search import Search
from harness.testbed.choice import incompatibility
from lb.plan import client_rate_per_s
from services.service_time import dear_clients

WARNING = "warning"  # label of lines about a plan that overloads a replica
NOTE_WIDTH = 90
SHOWN_CLIENTS = 5

Lines = list[tuple[str, str]]


def print_plan(experiment: Experiment, console: Console) -> None:
    """Print `plan_text` at once, and then the simulated outlook, which takes a second.

    What is bad is in colour where the console has any.
    """
    for label, line in _lines(experiment):
        style = "bold yellow" if label == WARNING else ""
        console.print(Text(_text(label, line), style), soft_wrap=True)
    console.file.flush()  # also where it is a pipe
    from harness.cli.outlook import outlook

    for label, line, style in outlook(experiment):
        console.print(Text(_text(label, line), style), soft_wrap=True)


def plan_text(experiment: Experiment) -> str:
    """Return the plan as lines of text: cells in order, requests, time, rates, utilisation.

    A closed loop has no planned rate. Its number of requests is a maximum: the number without any queueing.
    """
    return "\n".join(_text(label, line) for label, line in _lines(experiment))


def _text(label: str, line: str) -> str:
    return f"{label:<12} {line}".rstrip()


def _lines(experiment: Experiment) -> Lines:
    sections = [
        [(experiment.name, experiment.title), ("question", experiment.question)],
        _cells(experiment),
        _requests(experiment),
        _workloads(experiment),
        _replica_settings(experiment.replicas),
        _events(experiment),
        _expectations(experiment),
    ]
    return [line for section in sections for line in section]


def _cells(experiment: Experiment) -> Lines:
    plans = plan_cells(experiment)
    arms = len(experiment.variants)
    repeats = experiment.repeats
    least = arms * repeats.min
    if experiment.search is not None:
        return _searched_cells(experiment, experiment.search)
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


def _searched_cells(experiment: Experiment, search: Search) -> Lines:
    arms, repeats = len(experiment.variants), experiment.repeats
    width = max(map(len, experiment.variants))
    each = f"{arms} arms x {repeats.in_words} repeats x {LEAST_CELLS} to {search.max_cells} cells"
    problem = incompatibility(experiment, "local")
    what = f"the highest {search.factor} with {search.condition.in_words()}, within {search.within}"
    return [
        *([("testbed", problem)] if problem else []),
        ("search", f"{what}. It takes for granted that the condition fails above some rate"),
        ("cells", f"{cells_at_least(experiment)} to {cells_at_most(experiment)} ({each})"),
        *(("", f"  {name:<{width}}  {_arm(one.arm)}") for name, one in experiment.variants.items()),
    ]


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
    least = cells_at_least(experiment)
    times = cells_at_most(experiment) / least
    total = planned_requests(experiment) / times
    seconds = work.warm_up_s + work.duration_s
    measured = total / least * work.duration_s / seconds
    more = f"; up to {times:g} times that" if times > 1 else ""
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
            lines += [("", f"{name}:"), *(_of_arm(name, label, line) for label, line in own)]
    return lines


def _of_arm(name: str, label: str, line: str) -> tuple[str, str]:
    """Return a line about an arm's own workload: below the arm's name, but a warning stays a warning."""
    if label == WARNING:
        return WARNING, f"{name}: {line}"
    return "", f"  {label}: {line}" if label else f"    {line}"


def _workload(experiment: Experiment, work: Workload) -> Lines:
    return [*_clients(experiment, work), *_capacity(experiment, work)]


def _clients(experiment: Experiment, work: Workload) -> Lines:
    if work.locustfile is not None:
        pace = "at once" if work.spawn_rate is None else f"{work.spawn_rate:g}/s"
        users = f"{work.clients} users of {work.locustfile}, started {pace}: a closed loop"
        note = textwrap.wrap(CLOSED_LOOP_NOTE, NOTE_WIDTH)
        told = [("clients", users), ("calls", "what their tasks call"), ("note", note[0])]
        return [*told, *(("", line) for line in note[1:])]
    mix = ", ".join(f"{name} {weight / sum(work.calls.values()):.0%}" for name, weight in work.calls.items())
    if work.rate_per_s is None:
        rates = f"closed loop, {work.think_time_ms:g} ms of think time after each answer"
    else:
        load = load_of(work, experiment.seed, 1)
        first, last = client_rate_per_s(load, 0), client_rate_per_s(load, work.clients - 1)
        if work.trace is not None:
            return [("clients", f"{work.clients}: {_of_trace(work.trace, work)}"), ("calls", mix)]
        each = f"{first:.4g}/s each" if work.skew == 0 else f"{first:.4g}/s (client 0) to {last:.4g}/s"
        together = f"{work.mean_rate_per_s:.4g}/s together" + (" on average" if work.changes else "")
        rates = f"{together}, open loop, {each}, skew {work.skew:g}"
    return [("clients", f"{work.clients}: {rates}"), *_rate_changes(work), ("calls", mix)]


def _rate_changes(work: Workload) -> Lines:
    """Return how the rate changes while it is measured; nothing where it does not."""
    if not work.changes:
        return []
    return [("rate", f"{work.changes_in_words}; at most {work.peak_rate_per_s:.4g}/s")]


def _of_trace(trace: TraceSource, work: Workload) -> str:
    """Return the load that a trace gives, in words."""
    start_s, end_s = trace.edges
    return (
        f"{work.mean_rate_per_s:.4g}/s together, arrivals of a trace from {start_s:g} s to {end_s:g} s, "
        f"speed {trace.speed:g}{', recorded service times' if trace.service_times == 'recorded' else ''}"
    )


def _capacity(experiment: Experiment, work: Workload) -> Lines:
    """Return what the replicas can serve, how much of it is planned, and a warning where that is too much."""
    if experiment.service is not None:
        return [("replicas", f"{experiment.replicas.count}, of {experiment.service.method}: not the lab's")]
    groups = alike_replicas(experiment.replicas, work)
    used = [
        (_names(group, groups), used) for group in groups if (used := utilisation_of(group, experiment, work))
    ]
    best = [(names, _at_best(one, experiment)) for names, one in used]
    labels = ("utilisation", *[""] * len(used))
    when = "at the highest rate: " if work.changes else ""
    return [
        ("replicas", _capacities_in_words(experiment.replicas, groups, work)),
        *zip(labels, (when + _used_in_words(names, one, len(groups)) for names, one in used), strict=False),
        *(_cached(one for _, one in best) if experiment.replicas.cache is not None else []),
        *((WARNING, text) for names, one in best for text in _overloads(names, one, work)),
    ]


def _cached(best: Iterable[Utilisation]) -> Lines:
    """Return how much of the busiest replicas is used where all requests hit the session cache."""
    hits = max((one.evenly for one in best), default=0.0)
    told = f"these are requests that miss the session cache; {hits:.0%} when spread evenly and all hit"
    return [("", told)] if hits else []


def _at_best(used: Utilisation, experiment: Experiment) -> Utilisation:
    """Return the utilisation where all requests hit the session cache, if there is one."""
    cache = experiment.replicas.cache
    return used if cache is None else Utilisation(*(cache.hit_factor * share for share in astuple(used)))


def _capacities_in_words(replicas: Replicas, groups: Sequence[AlikeReplicas], work: Workload) -> str:
    time_ms = replicas.service_time_ms
    line = f"{replicas.count} x {replicas.slots} slots, "
    line += (
        f"service time {time_ms.mean:g} ms ({time_ms.distribution})" if time_ms.mean else "no service time"
    )
    if own := [f"{name} {mean:g} ms" for name, mean in time_ms.methods.items()]:
        line += f", {', '.join(own)}"
    if time_ms.dear is not None and time_ms.dear.by == "request":
        line += f", {time_ms.dear.share:.3g} of the requests {time_ms.dear.factor:g} times dearer"
    elif time_ms.dear is not None:
        dear = dear_clients(time_ms.dear, work.clients)
        shown = ", ".join(map(str, dear[:SHOWN_CLIENTS])) + (", ..." if len(dear) > SHOWN_CLIENTS else "")
        line += f", {time_ms.dear.factor:g} times dearer for {len(dear)} of {work.clients} clients ({shown})"
        line += f", a call takes {mean_ms_of_call(time_ms, work):.3g} ms on average"
    each = [_calls(group.capacity_per_s) for group in groups]
    if len(groups) > 1:
        of_groups = [f"{_names(group, groups)} {calls}" for group, calls in zip(groups, each, strict=True)]
        return f"{line}; each can serve: {', '.join(of_groups)}"
    capacity = groups[0].capacity_per_s
    if capacity is None:
        return line
    return f"{line}: {capacity:,.4g} calls/s each, {capacity * replicas.count:,.4g}/s in all"


def _calls(capacity_per_s: float | None) -> str:
    return "any rate" if capacity_per_s is None else f"{capacity_per_s:,.4g} calls/s"


def _names(group: AlikeReplicas, groups: Sequence[AlikeReplicas]) -> str:
    """Return "replica-3", "replica-0 to replica-2" where the names follow each other, or "each replica"."""
    names = group.names
    if len(groups) == 1:
        return "each replica"
    first, last = (int(name.removeprefix("replica-")) for name in (names[0], names[-1]))
    if len(names) > 2 and last - first == len(names) - 1:
        return f"{names[0]} to {names[-1]}"
    return " and ".join(names) if len(names) <= 2 else f"{', '.join(names[:2])} and {len(names) - 2} others"


def _used_in_words(names: str, used: Utilisation, groups: int) -> str:
    """Return how much of a replica is used in three cases."""
    if groups == 1:
        return (
            f"{used.evenly:.0%} of each replica when spread evenly; {used.busiest_client:.0%} of one by the "
            f"busiest client alone; {used.everything:.0%} of one if all go there"
        )
    return (
        f"{names}: {used.evenly:.0%} when spread evenly; {used.busiest_client:.0%} by the busiest client "
        f"alone; {used.everything:.0%} if all go to one"
    )


def _overloads(names: str, used: Utilisation, work: Workload) -> Iterator[str]:
    """Yield a sentence for each planned load that is more than a replica can serve."""
    grows = f"queue grows for as long as {'such a rate' if work.changes else 'the load'} lasts"
    if used.evenly > 1:
        yield f"{names} would be at {used.evenly:.0%} when the load is spread evenly. Then each {grows}."
    elif used.busiest_client > 1:
        yield (
            f"{names} would be at {used.busiest_client:.0%} with the calls of the busiest client alone. "
            f"Where these calls stay on one replica, its {grows}."
        )


def _replica_settings(replicas: Replicas) -> Lines:
    """Return the settings of all replicas that are not defaults, and the overrides of single replicas."""
    common = replicas.model_dump(
        include={"slow_factor", "slow_share", "fail_share", "fail_code", "outage", "cache", "orca"},
        exclude_defaults=True,
    )
    lines = [("", f"all: {_value(common)[1:-1]}")] if common else []
    for name, overrides in replicas.different.items():
        lines.append(("", f"{name}: {_value(overrides.model_dump(exclude_none=True))[1:-1]}"))
    return [("settings", lines[0][1]), *lines[1:]] if lines else []


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


def _too_few_requests(experiment: Experiment, expectation: Expectation) -> Iterator[str]:
    """Yield a warning if the percentile that is expected takes more requests than a cell plans."""
    arms = [arm for arm in (expectation.arm, expectation.of) if arm is not None]
    works = [experiment.workload_of(experiment.variants[arm].arm) for arm in arms]
    planned = min(
        (rate * work.duration_s for work in works if (rate := work.mean_rate_per_s)), default=math.inf
    )
    rank = percentile_of(expectation.metric)
    of_messages = expectation.metric.startswith("message_")  # a stream has several
    if rank is not None and not of_messages and planned < MIN_VALUES[rank]:
        yield (
            f"cannot be judged: {rank} takes {MIN_VALUES[rank]:,} requests in a cell; "
            f"about {planned:,.0f} are planned"
        )


def _expectations(experiment: Experiment) -> Lines:
    lines = []
    for expectation in experiment.expect:
        key, bound = next((key, value) for key in BOUNDS if (value := getattr(expectation, key)) is not None)
        words = key.replace("_times", "").replace("_", " ")
        bound_text = f"{bound:g}" if expectation.of is None else f"{bound:g} times that of {expectation.of}"
        lines.append(("", f"{expectation.arm}: {expectation.metric} {words} {bound_text}"))
        lines += [("", f"  {line}") for line in _too_few_requests(experiment, expectation)]
    return [("expect", lines[0][1]), *lines[1:]] if lines else [("expect", "nothing")]
