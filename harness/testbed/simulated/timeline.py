"""Translates a cell's events into changes for the simulator, and their outcome into lines of events.jsonl."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.events.context import ABSENT, DRAINING, HEALTHY, NO_LONGER_USED
from harness.events.keys import PlannedEvent
from harness.events.registry import kind_of
from harness.events.schedule import chosen_targets, starts_new
from harness.plan.cells import CellPlan
from harness.record.event_log import Asked, EndpointChange, Line, StepTaken, TookEffect
from harness.testbed.simulated.codes import CODES

if TYPE_CHECKING:
    from simulator.system import Change, ChangeKind, Outcome, Replica

START_UP_S = 0.05  # until a replica's process serves, which is forked; a container takes about a second
GRACE_S = 1.0  # how long calls in hand may take when a replica is stopped, at least

# Event -> what is seen of it at once, and the states in which the proxy then has its targets.
EFFECTS: dict[str, tuple[str, tuple[tuple[str, ...], ...]]] = {
    "slow": ("settings in force", ()),
    "fail": ("settings in force", ()),
    "heal": ("settings in force", ()),
    "kill": ("process ended", (NO_LONGER_USED,)),
    "stop": ("process ended", (NO_LONGER_USED,)),
    "start": ("process ready", ((HEALTHY,),)),
    "pause": ("process stopped (SIGSTOP)", (NO_LONGER_USED,)),
    "resume": ("process goes on (SIGCONT)", ((HEALTHY,),)),
    "not_serving": ("health service says NOT_SERVING", (NO_LONGER_USED,)),
    "serving": ("health service says SERVING", ((HEALTHY,),)),
    "drain": ("", ((DRAINING,), (ABSENT,))),
    "remove": ("", ((ABSENT,),)),
    "add": ("process ready", ((HEALTHY,),)),
}
# Those that need no proxy: nobody has to learn of them.
WITHOUT_PROXY = ("slow", "fail", "heal", "pause", "resume")
# Those of which a control plane tells the clients.
BY_CONTROL_PLANE = ("drain", "remove", "add")


@dataclass(frozen=True)
class Happening:
    """One event of a cell with its targets, and the changes that it makes."""

    planned: PlannedEvent
    targets: list[str]
    changes: list[Change]

    @property
    def starts_processes(self) -> bool:
        """Whether the event starts its targets' processes."""
        event = self.planned.event
        return event.do == "start" or starts_new(event) > 0


def happenings_of(plan: CellPlan, replicas: Sequence[Replica], initial: Sequence[str]) -> list[Happening]:
    """Return the events of a cell by time.

    replicas: as they begin, with those that join later. initial: the names of those that are there at first.
    """
    return list(_Translation(plan, replicas, initial).happenings())


class _Translation:
    def __init__(self, plan: CellPlan, replicas: Sequence[Replica], initial: Sequence[str]) -> None:
        self._plan = plan
        self._at_start = replicas
        self._now = list(replicas)
        self._running = list(initial)
        self._joined = len(initial)
        # As the player of real events draws them: the same targets in all arms of a repeat.
        self._random = random.Random(f"events/{plan.load.seed}/{plan.load.repeat}")
        self._targets: dict[int, list[str]] = {}

    def happenings(self) -> Iterator[Happening]:
        for planned in self._plan.events:
            targets = self._targets[planned.number] = self._choose(planned)
            numbers = [int(name.rpartition("-")[2]) for name in targets]
            yield Happening(planned, targets, [one for n in numbers for one in self._changes(planned, n)])
            if kind_of(planned.event.do).after == "ended":
                self._running = [name for name in self._running if name not in targets]
            elif planned.event.do in ("start", "add"):
                self._running += [name for name in targets if name not in self._running]

    def _choose(self, planned: PlannedEvent) -> list[str]:
        if planned.undoes is not None:
            return self._targets[planned.undoes]
        if new := starts_new(planned.event):
            self._joined += new
            return [f"replica-{number}" for number in range(self._joined - new, self._joined)]
        return chosen_targets(planned.event.target, self._running, self._random)

    def _changes(self, planned: PlannedEvent, number: int) -> Iterator[Change]:
        from simulator.system import Change

        behaviour = self._behaviour(planned, number)
        for kind, after_s in _steps(planned):
            yield Change(round((planned.at_s + after_s) * 1e9), kind, number, behaviour)

    def _behaviour(self, planned: PlannedEvent, number: int) -> Replica | None:
        """Return how the replica serves from now on; None where the event does not change that."""
        event, now = planned.event, self._now[number]
        if event.do == "slow":
            now = replace(now, slow_factor=1.0 if event.factor is None else event.factor, slow_share=1.0)
        elif event.do == "fail":
            now = replace(
                now,
                fail_share=1.0 if event.share is None else event.share,
                fail_code=CODES[event.code or "UNAVAILABLE"],
                fail_after_headers=event.after_headers,
                fail_after_work=event.after_work,
            )
        elif event.do in ("heal", "start"):  # a new process serves as at the start
            now = self._at_start[number]
        else:
            return None
        self._now[number] = now
        return now


def _steps(planned: PlannedEvent) -> list[tuple[ChangeKind, float]]:
    """Return the changes that an event makes to each target, with the seconds after its time."""
    event, delay_s = planned.event, planned.event.delay_or_default_s
    if event.do in ("slow", "fail", "heal"):
        return [("behave", 0)]
    if event.do == "stop":
        return [("stop", 0), ("end", max(GRACE_S, delay_s))]
    if event.do == "drain":
        return [("drain", 0), ("remove", delay_s), ("stop", delay_s), ("end", delay_s + GRACE_S)]
    if event.do == "start":
        return [("behave", START_UP_S), ("start", START_UP_S), ("join", START_UP_S)]
    if event.do == "add":
        return [("join", START_UP_S if starts_new(event) else 0)]
    plain: dict[str, ChangeKind] = {
        **{"kill": "kill", "pause": "pause", "resume": "resume", "remove": "remove"},
        **{"not_serving": "not_serving", "serving": "serving"},
    }
    return [(plain[event.do], 0)]


def lines_of(
    plan: CellPlan, happenings: Sequence[Happening], outcome: Outcome, names: Sequence[str]
) -> list[Line]:
    """Return the lines of a cell's events, by time. names: of the simulator's replicas."""
    start_ns, has_proxy = outcome.measure_start_ns, plan.arm.route == "envoy"
    seen = [
        EndpointChange(t_ns=max(at_ns, start_ns), replica=names[number], state=state)
        for at_ns, number, state in outcome.endpoints
        if has_proxy
    ]
    if not happenings:
        return []
    lines: list[Line] = list(_from_the_start(seen, start_ns))
    for happening in happenings:
        lines += _lines_of_event(plan, happening, seen, start_ns)
    return sorted(lines, key=lambda line: line.t_ns)


def _from_the_start(seen: Sequence[EndpointChange], start_ns: int) -> Iterator[EndpointChange]:
    """Yield each replica's state when measuring begins, then every change."""
    yield from {line.replica: line for line in seen if line.t_ns <= start_ns}.values()
    yield from (line for line in seen if line.t_ns > start_ns)


def _lines_of_event(
    plan: CellPlan, happening: Happening, seen: Sequence[EndpointChange], start_ns: int
) -> Iterator[Line]:
    planned, event = happening.planned, happening.planned.event
    at_ns = start_ns + round(planned.at_s * 1e9)
    yield Asked(
        t_ns=at_ns,
        number=planned.number,
        do=event.do,
        targets=happening.targets,
        planned_ns=at_ns,
        undoes=planned.undoes,
        notification=kind_of(event.do).notification_of(plan.arm.route, plan.arm.discovery),
        details=event.model_dump(mode="json", exclude={"at_s", "do", "target"}, exclude_defaults=True),
    )
    number, (at_once, states) = planned.number, EFFECTS[event.do]
    for target in happening.targets:
        if event.do == "drain":
            stop_ns = at_ns + round(event.delay_or_default_s * 1e9)
            yield StepTaken(t_ns=at_ns, number=number, do="drain", target=target)
            yield StepTaken(t_ns=stop_ns, number=number, do="stop", target=target)
            yield TookEffect(t_ns=stop_ns, number=number, target=target, seen="process ended")
        elif event.do != "add" or happening.starts_processes:
            ready_ns = at_ns + (round(START_UP_S * 1e9) if happening.starts_processes else 0)
            yield TookEffect(t_ns=ready_ns, number=number, target=target, seen=at_once)
        yield from _seen_by_the_proxy(number, target, states, seen, at_ns)


def _seen_by_the_proxy(
    number: int, target: str, states: Sequence[Sequence[str]], seen: Sequence[EndpointChange], at_ns: int
) -> Iterator[TookEffect]:
    """Yield when the proxy had the target in each of the wanted states, one after the other."""
    own = [one for one in seen if one.replica == target]
    for wanted in states:
        found = next((one for one in own if one.t_ns >= at_ns and one.state in wanted), None)
        if found is None:
            return
        at_ns = found.t_ns
        yield TookEffect(t_ns=at_ns, number=number, target=target, seen=f"Envoy: {found.state}")
