"""What is wrong with a timeline as a whole: keys that an event has not, targets and times that cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.errors import did_you_mean
from harness.events.event import Event, EventName
from harness.events.schedule import OF_THE_PROXY, OPPOSITE, planned_events
from harness.spec.arm import Arm
from harness.spec.model import ExperimentModel
from harness.spec.problems import Problem, dotted
from harness.spec.yaml_file import Where

# The keys that an event may have besides at_s, do, target and for_s.
KEYS: dict[EventName, tuple[str, ...]] = {
    "slow": ("factor",),
    "fail": ("share", "code", "after_headers", "after_work"),
    "stop": ("delay_s",),
    "drain": ("delay_s",),
    "roll": ("delay_s",),
    "proxy_drain": ("delay_s",),
    "weight": ("weight",),
    "add": ("count",),
    "limit_cpu": ("cores",),
}
REQUIRED: dict[EventName, str] = {"slow": "factor", "weight": "weight", "limit_cpu": "cores"}
EXTRA_KEYS = ("factor", "share", "code", "after_headers", "after_work", "delay_s", "weight", "count", "cores")

# What a replica must be for an event to make sense, and what it is afterwards.
BEFORE: dict[EventName, str] = {"start": "ended", "resume": "paused", "rejoin": "partitioned"}
AFTER: dict[EventName, str] = {
    "kill": "ended",
    "stop": "ended",
    "drain": "ended",
    "pause": "paused",
    "start": "running",
    "resume": "running",
    "partition": "partitioned",
    "rejoin": "running",
    "roll": "running",
}


def event_problems(experiment: ExperimentModel, arm: Arm, where: Where) -> Iterator[Problem]:
    """Everything that is wrong with the events that an arm has. `where`: the list that they stand in."""
    events = experiment.events_of(arm)
    found = [
        problem
        for index, event in enumerate(events)
        for problem in _event_problems(experiment, arm, (*where, index), event)
    ]
    yield from found
    if not found:
        yield from _story_problems(experiment, where, events)


def _event_problems(experiment: ExperimentModel, arm: Arm, where: Where, event: Event) -> Iterator[Problem]:
    for key in EXTRA_KEYS:
        given = getattr(event, key) != type(event).model_fields[key].default
        if given and key not in KEYS.get(event.do, ()):
            fits = " or ".join(f"'{do}'" for do, keys in KEYS.items() if key in keys)
            yield _problem((*where, key), f"changes nothing with do: {event.do}; expected it with {fits}")
    needed = REQUIRED.get(event.do)
    if needed is not None and getattr(event, needed) is None:
        yield _problem(where, f"do: {event.do} needs {needed}")
    if event.for_s is not None and (event.do not in OPPOSITE or _adds_new(event)):
        undone = ", ".join(OPPOSITE)
        yield _problem((*where, "for_s"), f"do: {event.do} has no opposite; expected it with {undone}")
    yield from _target_problems(where, event)
    if event.do in OF_THE_PROXY and arm.route == "direct":
        yield _problem(
            (*where, "do"), f"{event.do}: route 'direct' has no proxy; expected events: of that arm"
        )
    yield from _time_problems(experiment, arm, where, event)


def _adds_new(event: Event) -> bool:
    return event.do == "add" and event.target is None


def _target_problems(where: Where, event: Event) -> Iterator[Problem]:
    if event.do in OF_THE_PROXY:
        if event.target is not None:
            yield _problem((*where, "target"), f"do: {event.do} is about the proxy; leave it out")
    elif event.target is None and event.do != "add":
        told = "needs target: a replica's name, any, most_loaded, all or a share of the fleet"
        yield _problem(where, f"do: {event.do} {told}")
    elif event.do == "add" and event.target is not None and event.count is not None:
        yield _problem((*where, "count"), "counts new replicas; expected it without target")


def _time_problems(experiment: ExperimentModel, arm: Arm, where: Where, event: Event) -> Iterator[Problem]:
    ends_s = experiment.workload_of(arm).duration_s
    if event.at_s >= ends_s:
        told = f"{event.at_s:g}: measuring has ended at {ends_s:g} s; expected less"
        yield Problem(((*where, "at_s"), ("workload", "duration_s")), f"{dotted((*where, 'at_s'))}: {told}")
    elif event.for_s is not None and event.at_s + event.for_s >= ends_s:
        told = f"{event.for_s:g}: the opposite would come after measuring has ended at {ends_s:g} s"
        paths = ((*where, "for_s"), ("workload", "duration_s"))
        yield Problem(paths, f"{dotted((*where, 'for_s'))}: {told}; expected less, or leave it out")


def _story_problems(experiment: ExperimentModel, where: Where, events: Sequence[Event]) -> Iterator[Problem]:
    """Replicas that do not exist at that time, or are not in a state in which the event makes sense.

    Once a target is left to chance or to the load, what is known of the others is not looked at any more.
    """
    state = dict.fromkeys(experiment.replicas.names, "running")
    for planned in planned_events(events):
        index, event = planned.place, planned.event
        if _adds_new(event):
            first = len(state)
            state |= {f"replica-{first + number}": "running" for number in range(event.count or 1)}
            continue
        if event.target in ("any", "most_loaded") or isinstance(event.target, float):
            return
        names = list(state) if event.target == "all" else [str(event.target)]
        for name in names if event.target is not None else []:
            if name not in state:
                hint = did_you_mean(name, list(state)) or f"; expected replica-0 to replica-{len(state) - 1}"
                yield _problem((*where, index, "target"), f"'{name}': there is no such replica then{hint}")
                return
            expected = BEFORE.get(event.do)
            if planned.undoes is None and expected is not None and state[name] != expected:
                told = (
                    f"do: {event.do} at {event.at_s:g} s: {name} is {state[name]} then, expected {expected}"
                )
                yield _problem((*where, index, "do"), told)
            if state[name] == "ended" and event.do in ("kill", "stop", "pause", "drain", "partition"):
                told = f"do: {event.do} at {event.at_s:g} s: {name} has ended before; start it first"
                yield _problem((*where, index, "do"), told)
            state[name] = AFTER.get(event.do, state[name])


def _problem(path: Where, told: str) -> Problem:
    return Problem((path,), f"{dotted(path)}: {told}")
