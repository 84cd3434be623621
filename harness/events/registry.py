"""All kinds of events. Schema, checks, planning, playing, figures, plots and docs/events.md go by this table.

A kind is added to the file of its family; nothing else has to know its name.
"""

from collections.abc import Mapping

from harness.errors import UserError, did_you_mean
from harness.events import behaviour, containers, endpoints, health, processes, proxy
from harness.events.kind import EventKind

FAMILIES = (processes, behaviour, health, endpoints, proxy, containers)
EVENT_KINDS: Mapping[str, EventKind] = {kind.name: kind for family in FAMILIES for kind in family.KINDS}


def kind_of(name: str) -> EventKind:
    """The kind of that name. Raises UserError, since a record may come from another version of the lab."""
    if name not in EVENT_KINDS:
        known = did_you_mean(name, EVENT_KINDS) or f"; it knows {', '.join(EVENT_KINDS)}"
        raise UserError(f"this version of the lab has no event '{name}'{known}")
    return EVENT_KINDS[name]


def is_opposite(name: str) -> bool:
    """Whether the kind ends another one."""
    return any(kind.opposite == name for kind in EVENT_KINDS.values())


def meaning_of_key(key: str) -> str:
    """What a key means to each of the kinds that take it; those with the same meaning together."""
    kinds_of: dict[str, list[str]] = {}
    for kind in EVENT_KINDS.values():
        if key in kind.keys:
            kinds_of.setdefault(kind.keys[key], []).append(kind.name)
    return "; ".join(f"{', '.join(names)}: {meaning}" for meaning, names in kinds_of.items())
