"""What changes in an arm, as it is played: numbered in the order of time, opposites written out."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from harness.events.event import Event, EventName

# What ends what: events with for_s are followed by their opposite.
OPPOSITE: dict[EventName, EventName] = {
    "kill": "start",
    "stop": "start",
    "pause": "resume",
    "slow": "heal",
    "fail": "heal",
    "not_serving": "serving",
    "remove": "add",
    "drain": "start",
    "partition": "rejoin",
    "limit_cpu": "unlimit_cpu",
}
OF_THE_PROXY: tuple[EventName, ...] = ("proxy_restart", "proxy_drain")


@dataclass(frozen=True)
class PlannedEvent:
    """One event to be played. `number` counts from 1 in the order of time.

    place: where in the file's list it stands, or the event that it ends.
    undoes: the number of the event that this one ends, whose targets it has; None for an event of the file.
    """

    number: int
    place: int
    event: Event
    undoes: int | None = None

    @property
    def at_s(self) -> float:
        """Seconds from the start of measuring."""
        return self.event.at_s


def planned_events(events: Sequence[Event]) -> tuple[PlannedEvent, ...]:
    """The events in the order of time, with the opposites that for_s stands for; ties as in the file."""
    entries = [(place, event, False) for place, event in enumerate(events)]
    entries += [(place, _opposite(event), True) for place, event, _ in entries if event.for_s is not None]
    entries.sort(key=lambda entry: (entry[1].at_s, entry[0]))
    number_of = {place: number for number, (place, _, ends) in enumerate(entries, start=1) if not ends}
    return tuple(
        PlannedEvent(number, place, event, number_of[place] if ends else None)
        for number, (place, event, ends) in enumerate(entries, start=1)
    )


def _opposite(event: Event) -> Event:
    assert event.for_s is not None
    return Event(at_s=round(event.at_s + event.for_s, 9), do=OPPOSITE[event.do], target=event.target)


def chosen_targets(target: object, names: Sequence[str], rng: random.Random) -> list[str]:
    """Which of the replicas `names` a target means that needs no asking; most_loaded does.

    A share of the fleet is rounded, to one replica at the least.
    """
    if target == "all":
        return list(names)
    if target == "any":
        return [rng.choice(list(names))]
    if isinstance(target, float):
        return list(names[: max(1, round(target * len(names)))])
    return [str(target)]


def new_replicas(events: Sequence[PlannedEvent]) -> int:
    """How many replicas the events add that were not there at the start."""
    return sum(
        planned.event.count or 1
        for planned in events
        if planned.event.do == "add" and planned.event.target is None
    )
