"""What changes in an arm, as it is carried out: numbered in the order of time, opposites written out."""

import random
from collections.abc import Sequence
from typing import Literal

from harness.events.event import Event
from harness.events.keys import EventKeys, PlannedEvent
from harness.events.registry import kind_of


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
    opposite = kind_of(event.do).opposite
    assert event.for_s is not None
    assert opposite is not None  # the checks have refused for_s without one
    return Event(at_s=round(event.at_s + event.for_s, 9), do=opposite, target=event.target)


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


def starts_new(event: EventKeys) -> int:
    """How many new replicas the event starts."""
    new = kind_of(event.do).aim == "new replicas" and event.target is None
    return (event.count or 1) if new else 0


def new_replicas(events: Sequence[PlannedEvent]) -> int:
    """How many replicas the events start that were not there at the start."""
    return sum(starts_new(planned.event) for planned in events)


def delays_kept_by(part: Literal["replica", "proxy"], events: Sequence[PlannedEvent]) -> list[float]:
    """The seconds of delay of those events for which that part must know them when it is started."""
    return [
        planned.event.delay_or_default_s
        for planned in events
        if kind_of(planned.event.do).delay_kept_by == part
    ]
