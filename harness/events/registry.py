"""EVENT_KINDS: all kinds of events. Whoever wants to know something of a kind asks here.

The families beside this file declare the kinds; nothing else has to know a kind's name.
"""

from collections.abc import Mapping

from harness.errors import UserError, did_you_mean
from harness.events import behaviour, containers, nodes, processes, proxy
from harness.events.kind import EventKind

FAMILIES = (processes, behaviour, proxy, nodes, containers)
EVENT_KINDS: Mapping[str, EventKind] = {kind.name: kind for family in FAMILIES for kind in family.KINDS}


def kind_of(name: str) -> EventKind:
    """Return the kind of that name. Raises UserError: a record may come from another version of the lab."""
    if name not in EVENT_KINDS:
        known = did_you_mean(name, EVENT_KINDS) or f"; it knows {', '.join(EVENT_KINDS)}"
        raise UserError(f"this version of the lab has no event '{name}'{known}")
    return EVENT_KINDS[name]


def is_opposite(name: str) -> bool:
    """Return whether the kind ends another one."""
    return any(kind.opposite == name for kind in EVENT_KINDS.values())


def meaning_of_key(key: str) -> str:
    """Return what a key means to the kinds that take it; kinds with the same meaning stand together."""
    kinds_of: dict[str, list[str]] = {}
    for kind in EVENT_KINDS.values():
        if key in kind.keys:
            kinds_of.setdefault(kind.keys[key], []).append(kind.name)
    return "; ".join(f"{', '.join(names)}: {meaning}" for meaning, names in kinds_of.items())
