"""The part `events` of an experiment file, as it is written and as it is carried out."""

import random
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, WithJsonSchema
from pydantic_core import PydanticCustomError

from harness.events.keys import OWN_KEYS, EventKeys, PlannedEvent
from harness.events.registry import EVENT_KINDS, kind_of, meaning_of_key


def _known(name: str) -> str:
    if name not in EVENT_KINDS:
        raise PydanticCustomError("literal_error", "no kind of event")
    return name


def _meanings() -> str:
    meanings = [
        f"{kind.name}: {'in containers only: ' if kind.needs_containers else ''}{kind.meaning}"
        for kind in EVENT_KINDS.values()
    ]
    return ". ".join(meanings).replace("`", "")


EventName = Annotated[
    str,
    AfterValidator(_known),
    WithJsonSchema({"type": "string", "enum": list(EVENT_KINDS), "description": _meanings()}),
]


def _describe_own_keys(schema: dict[str, Any]) -> None:
    for key in OWN_KEYS:
        schema["properties"][key]["description"] = meaning_of_key(key)


class Event(EventKeys):
    """One change at a planned time."""

    model_config = ConfigDict(json_schema_extra=_describe_own_keys)

    do: EventName


def planned_events(events: Sequence[Event]) -> tuple[PlannedEvent, ...]:
    """Return the events in order of time, with the opposites that for_s stands for; ties as in the file."""
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
    at_s = round(event.at_s + event.for_s, 9)
    return Event(at_s=at_s, do=opposite, target=event.target, node=event.node)


def chosen_targets(target: object, names: Sequence[str], rng: random.Random) -> list[str]:
    """Return which of the replicas `names` a target means; not for most_loaded, which must be asked for.

    A share of the fleet is rounded, to at least one replica.
    """
    if target == "all":
        return list(names)
    if target == "any":
        return [rng.choice(list(names))]
    if isinstance(target, float):
        return list(names[: max(1, round(target * len(names)))])
    return [str(target)]


def starts_new(event: EventKeys) -> int:
    """Return how many new replicas the event starts."""
    new = kind_of(event.do).aim == "new replicas" and event.target is None
    return (event.count or 1) if new else 0


def new_replicas(events: Sequence[PlannedEvent]) -> int:
    """Return how many new replicas the events start."""
    return sum(starts_new(planned.event) for planned in events)


def starts_nodes(event: EventKeys) -> int:
    """Return how many new nodes of the proxy the event starts."""
    return (event.count or 1) if kind_of(event.do).new_nodes else 0


def new_nodes(events: Iterable[EventKeys]) -> int:
    """Return how many new nodes of the proxy the events start."""
    return sum(map(starts_nodes, events))


def delays_kept_by(part: Literal["replica", "proxy"], events: Sequence[PlannedEvent]) -> list[float]:
    """Return the delays of the events, in seconds, that the part must know when it is started."""
    return [one.event.delay_or_default_s for one in events if kind_of(one.event.do).delay_kept_by == part]
