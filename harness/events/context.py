"""What the events of a cell are played on: its parts, its endpoints, and the record of what happened."""

import random
import time
from collections.abc import Callable, Generator, Iterable
from typing import Any, Protocol

from harness.errors import LabError
from harness.events.lab_control import Controls
from harness.events.schedule import PlannedEvent
from harness.plan.cells import CellPlan
from harness.proxy.endpoints import Endpoint
from harness.record.event_log import Line, StepTaken, TookEffect
from harness.run.confirm import planned_behaviour
from harness.spec.experiment import Experiment
from harness.testbed.base import Fleet, LiveCell

# What an event does, a step at a time: whatever waits yields, and is looked at again soon.
Steps = Generator[None, None, None]

ABSENT = "absent"
HEALTHY = "healthy"


class Note(Protocol):
    """Appends a line to events.jsonl."""

    def __call__(self, line: Line, /) -> None: ...


class EventContext:
    """One cell while it is measured. `states`: replica -> what the proxy last said of its endpoint.

    `killed`: replicas that ended without warning; `proxy_restarted`: whether Envoy did.
    """

    def __init__(
        self, experiment: Experiment, plan: CellPlan, live: LiveCell, fleet: Fleet, note: Note
    ) -> None:
        self.experiment = experiment
        self.plan = plan
        self.live = live
        self.fleet = fleet
        self.note = note
        self.controls = Controls(live.controls)
        self.endpoints = {name: Endpoint(address) for name, address in live.replicas.items()}
        self.states: dict[str, str] = {}
        self.killed: set[str] = set()
        self.proxy_restarted = False
        self._last_event: dict[str, int] = {}
        # What `any` is drawn by: alike in all arms of a repeat.
        self.rng = random.Random(f"events/{experiment.seed}/{plan.repeat}")

    def concerns(self, planned: PlannedEvent, targets: Iterable[str]) -> None:
        """From now on these targets are this event's; earlier ones stop waiting for them."""
        self._last_event |= dict.fromkeys(targets, planned.number)

    def seen(self, planned: PlannedEvent, target: str, what: str) -> None:
        """Record that the event has taken effect, and where that was seen."""
        self.note(TookEffect(number=planned.number, target=target, seen=what))

    def step(self, planned: PlannedEvent, do: str, target: str) -> None:
        """Record a part of a longer event."""
        self.note(StepTaken(number=planned.number, do=do, target=target))

    def publish(self) -> None:
        """Tell proxy and name server the endpoints as they are now."""
        self.fleet.publish(self.endpoints)

    def behaviour_at_start(self, name: str) -> dict[str, Any]:
        """Field of LabControl's Behaviour -> what the replica had in force when the cell began."""
        return planned_behaviour(self.experiment, name)

    def until(self, look: Callable[[], bool]) -> Steps:
        """Wait until `look` sees it; a cell that ends meanwhile ends the waiting."""
        while not look():
            yield

    def pause(self, seconds: float) -> Steps:
        """Wait for a time."""
        end_s = time.monotonic() + seconds
        yield from self.until(lambda: time.monotonic() >= end_s)

    def until_each(
        self, planned: PlannedEvent, targets: Iterable[str], look: Callable[[str], bool], what: str
    ) -> Steps:
        """Wait until `look` sees it of each target, recording each; one that a later event takes is left."""
        left = list(targets)
        while left := [name for name in left if self._last_event.get(name) == planned.number]:
            for name in [name for name in left if look(name)]:
                self.seen(planned, name, what)
                left.remove(name)
            if not left:
                return
            yield

    def until_proxy_sees(self, planned: PlannedEvent, targets: Iterable[str], *states: str) -> Steps:
        """Wait until the proxy has each target in one of `states`; at once where there is no proxy."""
        if self.live.envoy is not None:
            seen = f"Envoy: {' or '.join(states)}"
            yield from self.until_each(planned, targets, lambda name: self.states.get(name) in states, seen)

    def answered(self, planned: PlannedEvent, futures: dict[str, Any], what: str) -> Steps:
        """Wait for LabControl's answers, recording each. Raises LabError naming a replica that refuses."""
        yield from self.until(lambda: all(future.done() for future in futures.values()))
        for name, future in futures.items():
            if future.code().name != "OK":
                told = f"event {planned.number} ({planned.event.do}) at {planned.at_s:g} s"
                raise LabError(f"{told}: {name} did not take it: {future.code().name} {future.details()}")
            self.seen(planned, name, what)

    def close(self) -> None:
        """Close what was opened."""
        self.controls.close()
